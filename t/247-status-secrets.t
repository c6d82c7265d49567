# The status shows much of the configuration and of what happens: none of its forms shows a secret,
# a password, a cookie or a user's name.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Site;
use MemSess::Status;
use MemSess::Test;

plan tests => 3;

my $modules = MemSess::Site::query('LIBEXECDIR');
my @text = map { $_ . '0123456789abcdef' x 3 } qw(FirstSecret OtherSecret ThirdSecret);
my $password = 'PassWordOfServers';
my ($first, $other) = map { private_file("status-$_", $text[$_]) } 0, 1;
my $auth = private_file('status-auth', "servers:$password\n");
my $program = private_file('status-program', "#!/bin/sh\necho '$text[2]'\n");
chmod 0700, $program or die $!;
my $users = private_file('status-users', "servers:$password\n");
my @pool = map { MemSess::Memcached->start(args => ['-Y', $users], auth => "servers $password") } 1, 2;

my $m = MemSess::Member->start(servers => \@pool, config => timing() . qq(
    LoadModule status_module "$modules/mod_status.so"
    MemSessSecret file:$first file:$other "exec:$program ArgumentOfProgram"
    MemSessServerAuth $auth
    MemSessUserSessions 5
    MemSessLocalCache 1M
    <Location "/status">
        SetHandler memsess-status
    </Location>
    <Location "/server-status">
        SetHandler server-status
    </Location>
));

# Words that must not be found anywhere.
my @hidden = (@text, $password, 'ArgumentOfProgram', 'alice-the-user', 'ValueOfAnAttribute',
              'PlantedCookie');

my $c = started($m, 'user=alice-the-user&a=ValueOfAnAttribute');
push @hidden, grep { length > 5 } $c->cookie, split /[.~]/, $c->cookie;
is data($c), 'a=ValueOfAnAttribute&user=alice-the-user', 'a session with a user';
push @hidden, map { $c->get('/lua/env')->env($_) } qw(MEMSESS_ID);
client($m)->set_cookie('PlantedCookie')->get('/lua/env');
ok wait_for(30, sub { status($m)->{alive_estimate}{items} }), 'servers were asked';

my @forms = ('/status', '/status?format=json', '/status?format=prometheus', '/status?format=xml',
             '/server-status', '/server-status?auto');
my @found;
for my $form (@forms, map { "$_ again" } @forms[0 .. 2]) {
    # Asks again while something is wrong.
    $_->kill9 for $form =~ / again/ ? splice @pool : ();
    my $r = $c->copy->get($form =~ s/ again//r);
    my $answer = join "\n", $r->lines, $r->body;
    push @found, map { "$_ in $form" } grep { index($answer, $_) >= 0 } @hidden;
    $form =~ m{^/status(?:$|.*json)} and $answer !~ m{exec:\Q$program\E \.\.\.}
        and push @found, "no source of the secret in $form";
}
is_deeply \@found, [], 'none of them is shown, only where they come from' or diag "@hidden";
