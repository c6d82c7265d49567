# Memcacheds behind a proxy: the pool is two of twemproxy (nutcracker), each with memcacheds of its
# own, set up as docs/moving-in.md says.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use IO::Socket::INET;
use MemSess::Process qw(free_port);
use MemSess::Status;
use MemSess::Test;

plan tests => 5;

package Nutcracker {
    use parent -norequire, 'MemSess::Process';

    my $count = 0;

    sub start {
        my ($class, @memcacheds) = @_;
        my $self = bless { log => sprintf 't/logs/nutcracker-%d-%d.log', $$, ++$count }, $class;
        my $conf = "$ENV{MEMSESS_T_ROOT}/logs/nutcracker-$$-$count.yml";
        $self->{port} = MemSess::Process::free_port();
        my $stats = MemSess::Process::free_port();
        open my $out, '>', $conf or die "$conf: $!";
        print $out "sessions:\n  listen: 127.0.0.1:$self->{port}\n  distribution: ketama\n",
            "  timeout: 200\n  auto_eject_hosts: false\n  servers:\n",
            map { '   - ' . $_->address . ":1\n" } @memcacheds;
        close $out;
        $self->{command} = ['/usr/sbin/nutcracker', '-c', $conf, '-s', $stats, '-a', '127.0.0.1',
            '-o', $self->{log}];
        $self->launch;
        MemSess::Process::wait_for(60, sub {
            !$self->alive || IO::Socket::INET->new(PeerHost => '127.0.0.1',
                PeerPort => $self->{port})
        }) && $self->alive or die 'nutcracker does not start: ' . $self->output;
        return $self;
    }

    sub address { "127.0.0.1:$_[0]{port}" }
}

my @memcacheds = map { MemSess::Memcached->start } 1 .. 4;
my @proxies = (Nutcracker->start(@memcacheds[0, 1]), Nutcracker->start(@memcacheds[2, 3]));
my ($one, $two) = map {
    MemSess::Member->start(servers => \@proxies,
        config => "MemSessRedundancy 2\nMemSessRetry 300ms\n"
            . "<LocationMatch /none>\nMemSessLock none\n</LocationMatch>")
} 1 .. 2;

for my $where (qw(cgi cgi/none)) {
    subtest "a session, on both members, $where" => sub {
        my $c = started($one, 'n=1');
        is data($c->via($two)), 'n=1', 'made on one, read on the other';
        for my $n (41, 42) {
            is $c->get(say_via($where, "MemSess-Set: n=$n"))->status, 200, 'changed there';
            is data($c->via($one)), "n=$n", 'and read here';
        }
        my $before = $c->copy;
        is $c->get(say_via($where, 'MemSess-Renew: 1'))->status, 200, 'renewed';
        is state($before), 'unknown', 'the old id is dead';
        is data($c), 'n=42', 'the new one is not';
        $c->get(say_via($where, "MemSess-Set: n=$_")) for 1, 2;
        my $old = $c->copy;
        $c->get(say_via($where, 'MemSess-Destroy: 1'));
        is state($old->via($two)), 'unknown', 'and ended';
    };
}

subtest 'what does not tell of itself' => sub {
    my $m = MemSess::Member->start(servers => \@proxies,
        config => qq(<Location "/status">\nSetHandler memsess-status\n</Location>));
    started($m);
    select undef, undef, undef, 6; # some figures would have come within that time
    for my $server (@{ status($m)->{servers} }) {
        is $server->{state}, 'up', 'is well';
        is_deeply [@$server{qw(memory_bytes memory_limit_bytes items evictions uptime_s)}],
            [(undef) x 5], 'null';
    }
    my $text = client($m)->get('/status?format=prometheus')->body;
    like $text, qr/^# TYPE memsess_server_evictions_total counter$/m, 'Prometheus: the family';
    unlike $text, qr/^memsess_server_(?:memory|items|evictions|uptime)\w*\{/m, 'without a sample';
    like $text, qr/^memsess_server_up\{.*\} 1$/m, 'but for the rest';
    $m->stop;
};

subtest 'two copies: a proxy dies' => sub {
    my @clients = map { started($one, "n=$_") } 1 .. 8;
    ok $proxies[0]->stop('KILL'), 'killed';
    is data($clients[$_ - 1]->via($two)), "n=$_", "session $_ is there" for 1 .. 8;
};

subtest 'a memcached behind the other dies' => sub {
    my $c = client($two);
    ok $memcacheds[$_]->kill9, 'killed' for 2, 3;
    is client($two)->set_cookie('A' x 24)->get('/lua/env')->status, 503,
        'that is an error, not a miss';
};
