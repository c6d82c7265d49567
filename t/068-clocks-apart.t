# Members whose clocks are an hour apart: the clocks decide when a session is over, and nothing
# else. No change is lost, no lock is held twice, nothing that has ended comes back.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;
use Time::HiRes qw(sleep);

my $secret = private_file('068-secret', 'clocks apart ' x 4);

my $config = timing() . q(
    MemSessIdleTimeout 5h
    MemSessLockWait 30s
    LuaMapHandler ^/lua/(\w+)/ "${T_ROOT}/lua/$1.lua"
    <LocationMatch /lock>
        MemSessLock request
    </LocationMatch>
    <LocationMatch /none>
        MemSessLock none
    </LocationMatch>
    <LocationMatch /short>
        MemSessIdleTimeout 10min
    </LocationMatch>
    <LocationMatch /renew>
        MemSessRenew 1ms
    </LocationMatch>
);
my @clocks = qw(0 +1h -1h);
my %settings = (
    plain  => '',
    sealed => "MemSessSecret file:$secret\n",
    cached => "MemSessSecret file:$secret\nMemSessLocalCache 1M max-age=100ms\n",
);
plan tests => 4 * keys(%settings) + 2;

sub members { my ($config, @pool) = @_; return map {
    MemSess::Member->start(servers => \@pool, clock => $_, config => $config) } @clocks }

# This many processes increment, each on the members in turn; returns how often that was acknowledged,
# and how often nobody can tell.
sub increment {
    my ($c, $where, $m, $meanwhile) = @_;
    my @told = at_once(5, sub {
        my ($k) = @_;
        my ($sure, $unsure) = (0, 0);
        for my $i (1 .. 12) {
            my $r = $c->copy(server => $m->[($k + $i) % @$m])->get(say_via($where, 'MemSess-Incr: n=1'));
            $r->status == 200 ? $sure++ : $unsure++;
        }
        return "$sure $unsure";
    }, $meanwhile);
    my @sums = (0, 0);
    for (@told) {
        my @both = split;
        $sums[$_] += $both[$_] for 0, 1;
    }
    return @sums;
}

sub n_of { my ($c, $m) = @_; return attr($c->copy(server => $m)->get('/lua/env'), 'n') }

for my $kind (sort keys %settings) {
    my @pool = pool(3);
    my @m    = members($config . $settings{$kind}, @pool);

    subtest "$kind: increments" => sub {
        for my $where (qw(lua lua/lock lua/none)) {
            my $c = started($m[0], 'n=0');
            my ($sure, $unsure) = increment($c, $where, \@m);
            is $unsure, 0, "$where: all are acknowledged";
            sleep 0.2;
            is n_of($c, $_), $sure, "$where: and none is lost" for @m;
        }
    };

    subtest "$kind: while servers hang and come back" => sub {
        for my $where (qw(lua lua/none)) {
            my $c = started($m[0], 'n=0');
            my ($sure, $unsure) = increment($c, $where, \@m, sub {
                for my $server (@pool) {
                    sleep 0.3;
                    $server->pause;
                    sleep 0.9;
                    $server->resume;
                    settle();
                }
            });
            settle();
            my $n = n_of($c, $m[0]);
            cmp_ok $n, '>=', $sure, "$where: what was acknowledged is there";
            cmp_ok $n, '<=', $sure + $unsure, "$where: nothing is done twice";
            is n_of($c, $_), $n, "$where: for all" for @m;
        }
    };

    subtest "$kind: one request at a time" => sub {
        my $c     = started($m[0], 'n=0');
        my $notes = "$ENV{MEMSESS_T_ROOT}/logs/068-notes-$kind-$$";
        my @r = together(map { [$c->copy(server => $m[$_ % @m]),
            say_via('cgi/lock', 'MemSess-Incr: n=1') =~ s{/say}{/turn}r, "X-Name: $_", 'X-Take: 0.1',
            "X-Notes: $notes"] } 1 .. 9);
        is_deeply [map { $_->status } @r], [(200) x 9], 'all have their turn';
        open my $in, '<', $notes or die "$notes: $!";
        chomp(my @lines = <$in>);
        my @twice = grep { my ($first, $then) = @lines[2 * $_, 2 * $_ + 1];
            ($first =~ s/begin/end/r) ne $then } 0 .. 8;
        is_deeply \@twice, [], 'nobody beside another' or diag "@lines";
        is n_of($c, $m[0]), 9, 'and nothing is lost';
    };

    subtest "$kind: the end" => sub {
        for my $how ('Destroy: 1', 'Renew: 1', 'Destroy: all') {
            for my $m (@m) {
                my $c = started($m[0], 'user=' . mark());
                my $old = $c->copy;
                $pool[0]->pause;
                is $c->via($m)->get(say_via('lua', "MemSess-$how"))->status, 200, $how;
                $pool[0]->resume;
                settle();
                is_deeply [map { state($old->copy(server => $_)) } @m, @m], [('unknown') x 6],
                    'is final';
            }
        }
        # With MemSessRenew, the old id leads to the session.
        my $c = started($m[1], 'n=1');
        my $old = $c->copy;
        sleep 0.01;    # MemSessRenew is 1 ms
        $c->get(say_via('lua/renew', 'MemSess-Incr: n=1'));
        isnt $c->cookie, $old->cookie, 'renewed';
        is data($c->copy(server => $_)), 'n=2', 'the new id' for @m;
    };
    $_->stop for @m, @pool;
}

# Only the wall clock of the writer is corrected; nothing else depends on it.
subtest 'a clock that was ahead is put right' => sub {
    my @pool = pool(2);
    my ($m)  = map { MemSess::Member->start(servers => \@pool, clock => '+1h', config => $config) } 1;
    in_use($m, @pool);
    $pool[0]->pause;
    my @c = map { started($m, "n=$_") } 1 .. 4;
    $pool[0]->resume;
    settle();
    data($_) for @c, @c;
    $m->set_clock(0);
    data($_) for @c, @c;    # dates in the future are corrected, once
    my $read = sub { is data($c[$_ % 4]), 'n=' . (1 + $_ % 4), 'there' for 1 .. 20 };
    is sum(map { my $server = $_; $server->writes($read) } @pool), 0, '20 reads write nothing';
    for my $server (@pool) {
        $server->pause;
        is $c[$_ % 4]->get('/lua/env')->status, 200, 'one hangs, and all have their session' for 1 .. 8;
        $server->resume;
        settle();
        data($_) for @c;
    }
    $_->stop for $m, @pool;
};

subtest 'a session is kept for as long as it is used' => sub {
    my @pool = pool(2);
    my ($right, $ahead, $behind) = members($config, @pool);
    # A member that is ahead has written this: the other member does not take it for fresh for an
    # hour.
    my $c = started($ahead, 'n=1');
    my $writes = $pool[0]->during(sub { $c->copy(server => $right)->get('/lua/env/short') }, 'cmd_set');
    cmp_ok $writes, '>', 0, 'it is dated again';
    # A new child process first asks servers for their time.
    ok wait_for(20, sub { 0 == $pool[0]->during(sub {
        $c->copy(server => $right)->get('/lua/env/short') for 1 .. 5 }, 'cmd_set') }), 'once';
    is state($c->copy(server => $right)), 'active', 'and is there';
    my $d = started($right, 'n=1');
    ok wait_for(20, sub { 0 == sum(map { my $server = $_; $server->during(sub {
        $d->copy(server => $_)->get('/lua/env') for map { ($ahead, $right) } 1 .. 4 }, 'cmd_set') } @pool) }),
        'and read in turn it is not dated again each time';
    # Clocks do decide time-outs.
    is $c->copy(server => $ahead)->get('/lua/env/short')->env('MEMSESS_STATE'), 'expired',
        'a member that is ahead ends it early';
    is state($c->copy(server => $right)), 'active', 'for itself alone';
    $_->stop for $right, $ahead, $behind, @pool;
};
