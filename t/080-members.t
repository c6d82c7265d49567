# Several members over one pool: a session belongs to no member, and has as many copies as
# MemSessRedundancy says.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Test;

plan tests => 12;

my $socket = "$ENV{MEMSESS_T_ROOT}/logs/mc.sock";
my %pool = (
    a => MemSess::Memcached->start,
    b => MemSess::Memcached->start(host => '::1'),
    c => MemSess::Memcached->start(host => $socket),
    d => MemSess::Memcached->start,
);
my @pool = map { $pool{$_} } sort keys %pool;
my ($port_a, $port_d) = map { $pool{$_}->port } qw(a d);
my $config = "MemSessTimeout 500ms\nMemSessRetry 300ms\n";

# The same pool, written in two ways.
my @member = (
    MemSess::Member->start(config => $config, servers => [
        "127.0.0.1:$port_a?name=a&weight=2", $pool{b}->address . '?name=b',
        "unix:$socket?name=c " . "localhost:$port_d?weight=3&name=d",
    ]),
    MemSess::Member->start(config => $config, servers => [
        "127.0.0.1:$port_d?name=d&weight=3", "unix:$socket?name=c&weight=1",
        $pool{b}->address . '?weight=1&name=b', "localhost:$port_a?weight=2&name=a",
    ]),
);

# Data that cannot be compressed, so that its size shows the copies.
sub noise { return join '', map { chr(65 + rand 26) } 1 .. 1500 }

# How many items of each of these servers are a copy of such data.
sub copies { return map { my $server = $_;
    scalar grep { length($server->get($_) // '') >= 1500 } $server->keys } @_ }

subtest 'a session started on one member is read and changed on the other' => sub {
    for my $n (1 .. 20) {
        my $c = started($member[0], "n=$n");
        my $id = $c->get('/cgi/env')->env('MEMSESS_ID');
        my $r = $c->via($member[1])->get('/cgi/env');
        is $r->env('MEMSESS_DATA'), "n=$n", 'read';
        is $r->env('MEMSESS_ID'), $id, 'the same session';
        set_via($c, "n=$n&more=1");
        is data($c->via($member[0])), "more=1&n=$n", 'changed';
        $c->get(say_via('cgi', 'MemSess-Renew: 1'));
        is data($c->via($member[1])), "more=1&n=$n", 'renewed on one, read on the other';
        my $old = $c->copy;
        $c->get(say_via('cgi', 'MemSess-Destroy: 1'));
        isnt state($old->copy(server => $_)), 'active', 'destroyed for both' for @member;
    }
};

subtest 'all servers are in use, by both members' => sub {
    for my $server (@pool) {
        cmp_ok $server->stats->{curr_items}, '>', 0, $server->address;
        cmp_ok $server->stats->{curr_connections}, '>', 2, 'connections';
    }
};

subtest 'redundancy 2 is exactly two copies' => sub {
    for my $n (1 .. 8) {
        my @before = copies(@pool);
        my $c = client($member[$n % 2]);
        set_via($c, 'data=' . noise());
        my @after = copies(@pool);
        is_deeply [sort map { $after[$_] - $before[$_] } 0 .. 3], [0, 0, 1, 1],
            'on two different servers';
        set_via($c->via($member[1 - $n % 2]), 'data=' . noise());
        is_deeply [copies(@pool)], \@after, 'and the same two after a change by the other member';
    }
};

for my $n (1, 3) {
    subtest "MemSessRedundancy $n" => sub {
        my $m = MemSess::Member->start(servers => \@pool, config => "MemSessRedundancy $n");
        my @before = copies(@pool);
        set_via(client($m), 'data=' . noise());
        my @after = copies(@pool);
        is_deeply [sort map { $after[$_] - $before[$_] } 0 .. 3], [(0) x (4 - $n), (1) x $n],
            'copies';
        $m->stop;
    };
}

subtest 'any one memcached may be killed' => sub {
    for my $name (sort keys %pool) {
        my $victim = $pool{$name};
        my @c = map { started($member[$_ % 2], "n=$_") } 1 .. 12;
        $victim->kill9;
        for my $n (1 .. 12) {
            my $c = $c[$n - 1];
            is data($c->via($member[$_])), "n=$n", "$name: session $n on member $_" for 0, 1;
            set_via($c, "n=$n&after=$name");
            is data($c->via($member[0])), "after=$name&n=$n", "$name: and changed";
        }
        $victim->restart;
        is data($c[$_ - 1]), "after=$name&n=$_", "$name: back, empty" for 1 .. 12;
        # Until both members ask the server again, a new session may have only one home.
        in_use($_, $victim) for @member;
    }
};

subtest 're-dating reaches every copy' => sub {
    my $m = MemSess::Member->start(servers => [@pool[0, 1]], config => 'MemSessRefresh 1s');
    my $c = started($m);
    let_pass(1.3);
    my @other;
    my @one = $pool[0]->during(sub {
        @other = $pool[1]->during(sub { is data($c), 'a=1', 'a read' }, qw(cmd_set cmd_touch));
    }, qw(cmd_set cmd_touch));
    cmp_ok sum(@$_), '>', 0, 'writes' for \@one, \@other;
    $m->stop;
};

subtest 'weights' => sub {
    my $m = MemSess::Member->start(config => 'MemSessRedundancy 1',
                                   servers => [$pool{a}->address . '?weight=4', $pool{d}->address]);
    my @before = copies(@pool[0, 3]);
    set_via(client($m), 'data=' . noise()) for 1 .. 60;
    my @after = copies(@pool[0, 3]);
    my ($heavy, $light) = map { $after[$_] - $before[$_] } 0, 1;
    is $heavy + $light, 60, 'all are somewhere';
    cmp_ok $heavy, '>', $light, 'more of them where the weight is';
    cmp_ok $light, '>', 0, 'but not all';
    $m->stop;
};

subtest 'a server that is taken away takes only its own sessions' => sub {
    my @names = map { $pool{$_}->address . "?name=$_" } qw(a b d);
    my $m = MemSess::Member->start(servers => [@names], config => 'MemSessRedundancy 1');
    my @c = map { started($m, "n=$_") } 1 .. 36;
    my %on_d = map { $_ => 1 } grep {
        my $n = $_;
        # Reads twice, since members also ask servers without any request.
        2 == grep { $pool{d}->during(sub { data($c[$n - 1]) }, 'get_hits') } 1, 2
    } 1 .. 36;
    cmp_ok scalar(keys %on_d), '>', 0, 'it has some';
    cmp_ok scalar(keys %on_d), '<', 36, 'not all';
    $m->{servers} = [@names[1, 0]];
    $m->configure('MemSessRedundancy 1');
    $m->graceful;
    for my $n (1 .. 36) {
        is data($c[$n - 1]->copy) // '', $on_d{$n} ? '' : "n=$n", "session $n";
    }
    $m->stop;
};

subtest 'graceful and restart' => sub {
    my $m = $member[0];
    my $c = started($m);
    $m->graceful;
    is data($c), 'a=1', 'after graceful';
    set_via($c, 'a=2');
    $m->restart;
    is data($c), 'a=2', 'after restart';
    my $connections = $pool{a}->stats->{curr_connections};
    for (1 .. 5) {
        $m->graceful;
        $c->get('/cgi/env') for 1 .. 4;
    }
    ok wait_for(20, sub { $pool{a}->stats->{curr_connections} <= $connections + 10 }),
        'connections of old generations are closed' or diag $pool{a}->stats->{curr_connections};
    is data($c), 'a=2', 'after many';
};

# This uses no CGI: a graceful restart replaces mod_cgid's daemon, and a request that reaches the
# old one may get a 503 ("failed reading PID from cgi daemon").
subtest 'graceful while requests come' => sub {
    my $m = $member[0];
    my $c = started($m, 'n=0');
    my $mark = $m->log->mark;
    $m->signal('USR1');
    my ($done, $refused) = (0, 0);
    wait_for(30, sub {
        my $r = $c->get(say_via('lua', 'MemSess-Incr: n=1'));
        $r->status == 200 ? $done++ : $refused++;
        diag $r->{raw} if $r->status != 200;
        return $done >= 30 && $m->log->text($mark) =~ /resuming normal operations/;
    });
    is $refused, 0, 'none is refused';
    is data($c), "n=$done", 'none is lost';
};

subtest 'graceful-stop' => sub {
    my ($m, $other) = @member;
    my $c = started($m);
    my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $m->port) or die $@;
    print $s 'GET ', say_via('proxy', 'MemSess-Set: a=last'),
        " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: memsess=", $c->cookie,
        "\r\n\r\n";
    my $first = <$s>;
    ok $m->graceful_stop, 'it ends';
    like $first . do { local $/; <$s> }, qr/200 OK.*said/s, 'the request under way was answered';
    is data($c->via($other)), 'a=last', 'its session lives on, at the other member';
    is_deeply [$m->log->faults], [], 'no crash';
};
