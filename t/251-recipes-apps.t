# The recipes of examples/ that are the same small application, each in another language: it counts
# visits, logs in and logs out. RECIPES names others than the default ones, whose languages are
# small packages.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Recipe;
use MemSess::Test;

my $form = 'Content-Type: application/x-www-form-urlencoded';
my @names = split ' ', $ENV{RECIPES} // 'cgi fastcgi lua mod_perl python rack plack';

plan tests => scalar @names;

for my $name (@names) {
    subtest $name => sub {
        my $recipe = MemSess::Recipe->start($name);
        my ($one, $two) = $recipe->members;
        my $c = client($one);

        says($c, 0, 'nobody', 'the first visit');
        ok defined $c->cookie, 'it begins a session';
        says($c, 1, 'nobody', 'the second');
        says($c->via($two), 2, 'nobody', 'the third, on the other member');

        my $before = $c->copy;
        my $r = $c->post('/app/login', 'user=J%C3%BCrgen%2C+%26+Co', $form);
        is $r->status, 303, 'log-in sends elsewhere';
        like scalar($r->header('Location')), qr{/app$}, 'to the page';
        is_deeply [$r->leaks], [], 'none of our headers leaves';
        isnt $c->cookie, $before->cookie, 'a new id';
        like $before->get('/app')->body, qr/earlier visits: 0\nuser: nobody\n/,
            'the old one is dead';
        $r = $c->via($one)->get('/app');
        like $r->body, qr/earlier visits: 3\n/, 'the session goes on';
        like $r->body, qr/^user: J\xc3\xbcrgen, & Co$/m, 'with the user';
        is_deeply [$r->leaks], [], 'none of our headers leaves';

        $c->post('/app/login', $_, $form) for "user=x\nMemSess-Set: forged=1",
            "user=x\r\n\r\nforged", 'user=x%0AMemSess-Set:forged=1';
        is_deeply [data($c) =~ /([^&=]+)=/g], [qw(hits user)], 'a name sets nothing else';
        is $c->post('/app/login', '', $form)->status, 422, 'no name';

        my $old = $c->copy;
        is $c->post('/app/logout', '')->status, 303, 'log-out';
        is $c->cookie, undef, 'takes the cookie';
        says($old->via($two), 0, 'nobody', 'and the session, everywhere');
        $_->stop for $recipe->members, $recipe;
    };
}

sub says {
    my ($client, $visits, $user, $what) = @_;
    my $r = $client->get('/app');
    is $r->status, 200, $what;
    is $r->body, "earlier visits: $visits\nuser: $user\n", $what;
    is_deeply [$r->leaks], [], 'none of our headers leaves';
}
