# A server's faults are reported in words that an operator knows: in the log, and as last_error in
# the status.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Faulty;
use MemSess::Status;
use MemSess::Test;

plan tests => 8;

my $config = timing() . q(
    <Location "/status">
        SetHandler memsess-status
    </Location>
);

# There must be nothing that only a programmer of APR knows.
sub plain { my ($m) = @_; unlike $m->log->text,
    qr/specific information|does not understand|\(\d+\)[A-Z].*MemSess: (?:server|changes)/, 'plain' }

# A client uses the only server of a member; these words are then in the log and in the status.
sub told {
    my ($m, $address, $words) = @_;
    client($m)->get(say_via('cgi', 'MemSess-Set: a=1'));
    ok $m->log->wait_for(qr/memsess:error.*server \Q$address\E is down: $words; trying/),
        'the log' or diag $m->log->text;
    ok wait_for(20, sub {
        (status($m)->{servers}[0]{last_error}{text} // '') =~ /^$words$/ }), 'last_error'
        or diag explain status($m)->{servers}[0];
    is status($m)->{servers}[0]{state}, 'down', 'state';
    plain($m);
}

my $password = private_file('password', "web:sesame\n");

sub guarded { MemSess::Memcached->start(args => ['-Y', $password], auth => 'web sesame') }

subtest 'no password' => sub {
    my $server = guarded();
    my $m = MemSess::Member->start(servers => [$server], config => $config);
    told($m, $server->address, qr/it asks for a user and password \(set MemSessServerAuth\)/);
    is client($m)->set_cookie('A' x 24)->get('/lua/env')->status, 503, 'no session';
    $m->configure("$config MemSessServerAuth $password");
    $m->graceful;
    ok wait_for(20, sub { status($m)->{servers}[0]{state} eq 'up' }), 'mended';
    is data(started($m)), 'a=1', 'in use';
    $_->stop for $m, $server;
};

subtest 'the wrong password' => sub {
    my $server = guarded();
    my $m = MemSess::Member->start(servers => [$server],
        config => "$config MemSessServerAuth " . private_file('wrong', "web:wrong\n"));
    told($m, $server->address, qr/it refuses the user and password of MemSessServerAuth/);
    unlike $m->log->text, qr/wrong\b(?!-)/, 'which is not told';
    $_->stop for $m, $server;
};

subtest 'a password where none is wanted, of a server that is full' => sub {
    my $server = MemSess::Memcached->start(args => ['-m', '2', '-M']);
    my $s = $server->connection;
    for my $n (1 .. 60000) {
        $s->print("set filler$n 0 0 1 noreply\r\nx\r\n");
    }
    $s->print("version\r\n");
    <$s>;
    my $m = MemSess::Member->start(servers => [$server],
        config => "$config MemSessServerAuth $password");
    is client($m)->set_cookie('A' x 24)->get('/lua/env')->status, 200, 'it is asked all the same';
    is status($m)->{servers}[0]{state}, 'up', 'state';
    $_->stop for $m, $server;
};

subtest 'a name that does not resolve' => sub {
    my $m = MemSess::Member->start(servers => ['memsess-no-such-host.invalid:11211'],
        config => $config);
    told($m, 'memsess-no-such-host.invalid:11211', qr/the name does not resolve: [^;]+/);
    $m->stop;
};

subtest 'nobody listens; no socket' => sub {
    my $server = MemSess::Memcached->start;
    $server->kill9;
    for (["MemSessServers " . $server->address, $server->address,
          qr/connection refused: nothing listens there/],
         ["MemSessServers unix:$ENV{MEMSESS_T_ROOT}/logs/none-$$.sock",
          "unix:$ENV{MEMSESS_T_ROOT}/logs/none-$$.sock", qr/there is no such unix socket/]) {
        my ($directive, $address, $words) = @$_;
        my $m = MemSess::Member->start(config => "$config\n$directive");
        told($m, $address, $words);
        $m->stop;
    }
};

subtest 'a server that hangs; another MemSessTimeout' => sub {
    my $server = MemSess::Memcached->start;
    for my $ms (250, 400) {
        my $m = MemSess::Member->start(servers => [$server],
            config => "$config MemSessTimeout ${ms}ms");
        my $c = started($m);
        $server->pause;
        told($m, $server->address, qr/no answer within $ms ms \(MemSessTimeout\)/);
        is $c->get('/lua/env')->status, 503, 'denied';
        like $m->log->text, qr/memsess:error.*changes are lost: (?:no answer within $ms ms|the servers that are needed)/,
            'changes';
        $server->resume;
        $m->stop;
    }
    $server->stop;
};

subtest 'no memcached; one that closes' => sub {
    my $server = MemSess::Memcached->start;
    my $other = MemSess::Faulty->start($server);
    for (['garbage', qr/it answered with an error, or is not a memcached/],
         ['closed', qr/the server closed the connection/]) {
        my ($mode, $words) = @$_;
        $other->mode($mode);
        my $m = MemSess::Member->start(servers => [$other], config => $config);
        told($m, $other->address, $words);
        $m->stop;
    }
    $_->stop for $other, $server;
};

# A lock that times out is no error of the store.
subtest 'a lock that is not had' => sub {
    my $server = MemSess::Memcached->start;
    my $m = MemSess::Member->start(servers => [$server], config => "$config
        MemSessLockWait 200ms
        <Location />
            MemSessLock request
        </Location>
        <LocationMatch /free>
            MemSessOnError anonymous
        </LocationMatch>");
    my $c = started($m);
    my $long = background($c->copy, '/cgi/linger');
    ok wait_for(20, sub { $c->copy->get('/lua/env')->status == 503 }), 'in vain';
    is $c->copy->get(say_via('cgi', 'MemSess-Set: a=1'))->status, 503, 'a change in vain';
    is $c->copy->get(say_via('cgi/free', 'MemSess-Set: a=1'))->status, 200, 'MemSessOnError';
    my $words = qr/other requests held the session for longer than MemSessLockWait/;
    like $m->log->text, qr/memsess:error.*MemSess: no lock: $words/, 'why there was no lock';
    like $m->log->text, qr/memsess:info.*MemSess: denied \(MemSessOnError deny\): $words/, 'denied';
    like $m->log->text, qr/memsess:error.*MemSess: changes are lost: $words/, 'changes lost';
    unlike $m->log->text, qr/store is unavailable|is down|no answer from the store/, 'not the store';
    plain($m);
    my $s = status($m);
    is $s->{sessions}{unavailable}, 0, 'the store has answered';
    cmp_ok $s->{locks}{timeouts}, '>=', 3, 'locks';
    $_->stop for $m, $server;
};
