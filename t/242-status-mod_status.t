# mod_status, if it is loaded, shows a summary of ours; without it nothing is missing.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Site;
use MemSess::Status;
use MemSess::Test;

plan tests => 3;

my $modules = MemSess::Site::query('LIBEXECDIR');
my $memcached = MemSess::Memcached->start;
my $config = qq(
    LoadModule status_module "$modules/mod_status.so"
    <Location "/server-status">
        SetHandler server-status
    </Location>
    <Location "/status">
        SetHandler memsess-status
    </Location>
);
my $m = MemSess::Member->start(servers => [$memcached], config => $config);
started($m) for 1 .. 3;
client($m)->set_cookie('nonsense')->get('/lua/env');

my $json = status($m);

subtest '?auto' => sub {
    my %figure = client($m)->get('/server-status?auto')->body =~ /^MemSess(\w+): (\d+)$/mg;
    is $figure{ServersUp}, 1;
    is $figure{ServersDown}, 0;
    is $figure{Created}, 3;
    is $figure{Rejected}, 1;
    for my $group (qw(sessions copies locks local_cache)) {
        for my $name (sort keys %{ $json->{$group} }) {
            my $word = join '', map { ucfirst } split /_/,
                $group eq 'sessions' ? $name : "${group}_$name";
            is $figure{$word}, $json->{$group}{$name}, $word;
        }
    }
};

subtest 'HTML' => sub {
    my $body = client($m)->get('/server-status')->body;
    like $body, qr{<h2>mod_memsess</h2>.*\Q@{[ $memcached->address ]}\E is up since 20}s;
    like $body, qr/created 3,/;
    unlike $body, qr/down/;
    $memcached->kill9;
    started_in_vain($m);
    like client($m)->get('/server-status')->body, qr{\Q@{[ $memcached->address ]}\E is <b>down</b>};
    like client($m)->get('/server-status?auto')->body, qr/^MemSessServersDown: 1$/m;
};

sub started_in_vain { my ($m) = @_; client($m)->get(say_via('cgi', 'MemSess-Set: a=1')) }

subtest 'names are escaped' => sub {
    my $odd = q(/tmp/<b>"&'.sock);
    my $m = MemSess::Member->start(
        config => qq($config\nMemSessServers "unix:/tmp/<b>\\"&'.sock"\n));
    like client($m)->get('/server-status')->body, qr{unix:/tmp/&lt;b&gt;};
    unlike client($m)->get($_)->body, qr{/tmp/<b>}, $_ for qw(/server-status /status);
    my $names = status($m)->{servers};
    is $names->[0]{name}, "unix:$odd", 'JSON';
    $m->stop;
};
