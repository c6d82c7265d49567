# Fewer connections than requests: all requests wait for their turn, and none is refused; and
# memcacheds at their own limit go on serving accepted connections.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;
use Time::HiRes qw(sleep time);

plan tests => 9 + 3 + 2;

# A request that waits for a turn which never comes waits for 20 times MemSessTimeout: here for 40 s. All
# that is served takes a small part of that, on a slow machine, too.
my $STANDSTILL = 40;
my $config = timing() . q(
    MemSessTimeout 2s
    MemSessLockWait 50s
    MemSessUserAttr user
    <LocationMatch /lock>
        MemSessLock request
    </LocationMatch>
    <Location /status>
        SetHandler memsess-status
    </Location>
    <IfModule !mpm_prefork_module>
        ServerLimit 1
        MaxRequestWorkers 16
    </IfModule>
);

# Does each job of a visitor again and again; returns the answers that were not 200, were wrong, or took
# as long as a standstill (which ends the visit).
sub visit {
    my ($member, $k, $rounds, $shared) = @_;
    my @wrong;
    my $job = sub {
        my ($c, $what, $target) = @_;
        my $begun = time;
        my $r = $c->get($target);
        push @wrong, "$what: " . $r->status if $r->status != 200;
        die "$what: a standstill\n" if time - $begun > 0.75 * $STANDSTILL;
        return $r;
    };
    for my $n (1 .. $rounds) {
        my $c = client($member);
        $job->($c, 'new', say_via('lua', "MemSess-Set: who=$k&n=0"));
        my $r = $job->($c, 'read', '/lua/env');
        push @wrong, "it is not there" if (attr($r, 'who') // '') ne $k;
        $job->($c, 'write', say_via('lua', 'MemSess-Incr: n=1'));
        $job->($c, 'log-in', say_via('lua', "MemSess-Set: user=u$k"));
        $job->($c, 'lock', say_via('proxy/lock', 'MemSess-Incr: n=1'));
        $job->($shared->copy, 'a shared one', say_via('proxy/lock', 'MemSess-Incr: n=1'));
        $r = $job->($c, 'read', '/lua/env');
        push @wrong, 'n is not 2' if (attr($r, 'n') // '') ne 2;
        $job->($c, 'end', say_via('lua', 'MemSess-Destroy: 1'));
    }
    my %times;
    $times{$_}++ for @wrong;
    return join ', ', map { "$_ ($times{$_} times)" } sort keys %times;
}

# This many clients come at once, and none is refused.
sub all_served {
    my ($member, $what, $n, $rounds) = @_;
    # There are enough sessions that all clients of one can wait for its lock.
    my @shared = map { started($member, 'n=0') } 1 .. 4;
    my @wrong = grep { length } at_once($n, sub { visit($member, $_[0], $rounds, $shared[$_[0] % 4]) });
    is_deeply \@wrong, [], "$what: every request of all $n clients is served, without a standstill";
    is sum(map { attr($_->get('/lua/env'), 'n') } @shared), $n * $rounds, "$what: no update is lost";
}

for ([2, 2], [2, 3], [3, 3]) {
    my ($copies, $servers) = @$_;
    my @pool = pool($servers);
    for my $connections (1, 2, 4) {
        subtest "$copies copies on $servers servers, MemSessConnections $connections" => sub {
            my $m = MemSess::Member->start(servers => \@pool, config => "$config
                MemSessRedundancy $copies
                MemSessConnections $connections");
            all_served($m, 'few connections', 16, 3);
            ok $m->log->text !~ /is down/, 'no server is taken for dead';
            $m->stop;
        };
    }
    $_->stop for @pool;
}

# ---- a memcached at its limit ----

# A memcached that accepts about ten connections.
sub small { return MemSess::Memcached->start(args => ['-t', 1, '-c', 22, @_]) }

# A prefork child never needs a second connection, and another child has none yet: so there is only
# one child.
my $alone = q(
    <IfModule mpm_prefork_module>
        StartServers 1
        ServerLimit 1
        MaxRequestWorkers 1
    </IfModule>
);
my $is_prefork = Apache::Test::config()->{server}{mpm} eq 'prefork';

# Takes all connections that are left: memcached has answered on each of these sockets, and either
# refuses the next one or says that it accepts none.
sub take_all {
    my ($memcached) = @_;
    my @taken;
    for (1 .. 30) {
        my $s = $memcached->connection;
        $s->print("version\r\n");
        my $select = IO::Select->new($s);
        wait_for(20, sub { $select->can_read(0.05) || (@taken && !accepts($taken[0])) })
            or die 'it neither accepts nor refuses';
        return @taken if !$select->can_read(0) || <$s> !~ /^VERSION/;
        push @taken, $s;
    }
    die 'it accepts whatever comes';
}

# Whether memcached still accepts connections, as it says on this one.
sub accepts {
    my ($s) = @_;
    my $accepts;
    $s->print("stats\r\n");
    while ((my $line = <$s>) !~ /^END/) {
        $accepts = $1 if $line =~ /^STAT accepting_conns (\d)/;
    }
    return $accepts // die 'it does not say whether it accepts connections';
}

sub state_of { $_[0]->get('/status?format=json')->body =~ /"state": "(\w+)"/ ? $1 : undef }

for my $mode ('maxconns_fast', 'no_maxconns_fast') {
    subtest "memcached at its limit, $mode" => sub {
        my @pool = map { small('-o', $mode) } 1 .. 2;
        my $m = MemSess::Member->start(servers => \@pool, config => "$config $alone
            MemSessConnections 16");
        started($m, 'a=1');
        my @taken = map { take_all($_) } @pool;
        all_served($m, 'at the limit', 16, 3);
        my $full = qr/accepts no more connections.*-c.*MemSessConnections/;
        ok $is_prefork || $m->log->wait_for($full), 'the log says what to raise';
        my $log = $m->log->text;
        ok $log !~ /is down|is back/, 'no server is down';
        my @lines = $log =~ /$full/g;
        is scalar @lines, $is_prefork ? 0 : 1, 'and says it once';
        my $status = client($m)->get('/status?format=json')->body;
        unlike $status, qr/"state": "down"/, 'up, says the status';
        ok $is_prefork || $status =~ /"warnings": \[[^\]]*$full/, 'and warns';
        @taken = ();
        all_served($m, 'free again', 16, 3);
        ok $m->log->text !~ /is down/, 'no server was down';
        $m->stop;
        $_->stop for @pool;
    };
}

subtest 'memcached at its limit, and a member that has no connection' => sub {
    my $memcached = small();
    my @taken = take_all($memcached);
    my $m = MemSess::Member->start(servers => [$memcached], config => "$config $alone");
    for my $n (1 .. 3) {
        my ($r) = together([client($m), say_via('lua', 'MemSess-Set: a=1')]);
        is $r->status, 503, 'there is nothing to do but refuse';
        cmp_ok $r->{seconds}, '<', $STANDSTILL / 2, 'at once';
    }
    ok $m->log->text =~ /accepts no more connections.*-c/, 'the log says why';
    @taken = ();
    ok wait_for(20, sub {
        client($m)->get(say_via('lua', 'MemSess-Set: a=1'))->status == 200
    }), 'until it accepts one';
    @taken = take_all($memcached);
    all_served($m, 'with the one that it has', 8, 2);
    $m->stop;
    $memcached->stop;
};

# ---- what is found down frees those that wait ----

for my $how (qw(killed paused)) {
    subtest "a server is $how while many wait for its connections" => sub {
        my @pool = pool(2);
        my $m = MemSess::Member->start(servers => \@pool, config => "$config
            MemSessConnections 1");
        my @c = map { started($m, "n=$_") } 1 .. 16;
        # (The test reads sessions that have just begun, since both servers have them.)
        $how eq 'killed' ? $pool[0]->kill9 : $pool[0]->pause;
        my @r = together(map { [$_->copy, '/cgi/env'] } @c);
        is_deeply [map { attr($_, 'n') // $_->status } @r], [1 .. 16], 'all are served by the other';
        my ($longest) = sort { $b <=> $a } map { $_->{seconds} } @r;
        cmp_ok $longest, '<', $STANDSTILL / 2, 'none waits for his turn at one that is dead';
        $how eq 'killed' ? $pool[0]->restart : $pool[0]->resume;
        $m->stop;
        $_->stop for @pool;
    };
}
