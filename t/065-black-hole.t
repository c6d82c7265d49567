# A memcached that vanishes from the network: packets are dropped, nothing is refused. It costs each
# child process one MemSessTimeout, is found down, and comes back.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::BlackHole;
BEGIN { MemSess::BlackHole::enter() }
use List::Util qw(max);
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;

my @kinds = MemSess::BlackHole::kinds();
plan tests => 3 * @kinds;
diag 'no namespaces here: a silent process alone stands in for a network that drops' if @kinds == 1;

my $TIMEOUT = 4;    # seconds; far above all else, even on a busy machine
my $config = "MemSessTimeout ${TIMEOUT}s\nMemSessRetry 300ms\n" . q(
    <Location /status>
        SetHandler memsess-status
        MemSess Off
    </Location>
    <IfModule mpm_prefork_module>
        StartServers 16
        MinSpareServers 16
        MaxSpareServers 17
    </IfModule>
);

sub up { my ($m) = @_; return !grep { $_->{state} ne 'up' } @{ status($m)->{servers} } }

# Requests that are under way when it vanishes wait side by side, and none waits for two time-outs.
sub wait_side_by_side {
    my (@requests) = @_;
    my @r = together(@requests);
    cmp_ok max(map { $_->{seconds} } @r), '<', 1.75 * $TIMEOUT,
        'side by side, none waits for two time-outs';
    return @r;
}

# Of the requests that come later, one after the other, at most one in each child process waits.
sub wait_no_more {
    my ($m, @requests) = @_;
    my @r = map { together($_) } @requests;
    my @slow = grep { $_->{seconds} > $TIMEOUT / 2 } @r;
    cmp_ok scalar @slow, '<', children_of($m) + 1, 'later, one in a child process waits at most';
    cmp_ok max(map { $_->{seconds} } @r), '<', 1.75 * $TIMEOUT, 'and not for long';
    return @r;
}

sub comes_back {
    my ($m, $hole) = @_;
    my $mark = $m->log->mark;
    $hole->appear;
    ok $m->log->wait_for(qr/server \S+ is back/, $mark), 'the prober finds it';
    ok wait_for(20, sub { up($m) }), 'the status says so';
}

for my $kind (@kinds) {
    my $hole = MemSess::BlackHole->start($kind);
    my @pool = ($hole, pool(1));

    subtest "$kind: the only server" => sub {
        my $m = MemSess::Member->start(servers => [$hole], config => $config);
        my @c = map { started($m, "who=$_") } 1 .. 8;
        $hole->vanish;
        my @r = wait_side_by_side(map { [$_, '/lua/env'] } @c, @c);
        ok !up($m), 'the status says so';
        push @r, wait_no_more($m, map { [$_, '/lua/env'] } @c);
        push @r, wait_no_more($m, map { [client($m), say_via('lua', 'MemSess-Set: a=1')] } 1 .. 8);
        is_deeply [map { $_->status } @r], [(503) x @r], 'all are told that it is unavailable';
        is_deeply [grep { $_->header('Set-Cookie') } @r], [], 'the cookies stay';
        is client($m)->get('/lua/env')->status, 200, 'who has no cookie needs no store';
        is scalar(my @down = $m->log->text =~ /server \S+ is down/g), 1, 'told once';
        comes_back($m, $hole);
        ok back_again(sub { $c[0]->copy->get('/lua/env')->status == 200 }), 'it is in use';
        # In other child processes a probe that began before is still waiting for its time-out.
        for my $n (1 .. 8) {
            ok wait_for(20, sub { (data($c[$n - 1]) // '') eq "who=$n" }), "session $n is still there";
        }
        $m->stop;
    };

    subtest "$kind: one of two" => sub {
        my $m = MemSess::Member->start(servers => \@pool, config => $config);
        my @c = map { started($m, "who=$_&n=0") } 1 .. 8;
        $hole->vanish;
        my @r = wait_side_by_side(map { [$_, '/lua/env'] } @c, @c);
        push @r, wait_no_more($m, map { [$_, '/lua/env'] } @c);
        is_deeply [map { attr($_, 'who') } @r], [(1 .. 8) x 3], 'everybody has his session';
        @r = wait_no_more($m, map { [$_, say_via('lua', 'MemSess-Incr: n=1')] } @c);
        is_deeply [map { $_->status } @r], [(200) x 8], 'and can change it';
        comes_back($m, $hole);
        settle();
        is data($c[$_ - 1]), "n=1&who=$_", "session $_ is as it was written meanwhile" for 1 .. 8;
        my ($c, $mark) = marked($m, @pool);
        ok repaired($c, $mark, 2, @pool), 'new ones lie on both';
        $m->stop;
    };

    # No connection was made before.
    subtest "$kind: away from the start" => sub {
        $hole->vanish;
        my $m = MemSess::Member->start(servers => \@pool, config => $config);
        my @r = wait_side_by_side(
            map { [client($m), say_via('lua', "MemSess-Set: who=$_")] } 1 .. 8);
        is_deeply [map { $_->status } @r], [(200) x 8], 'sessions begin';
        comes_back($m, $hole);
        $m->stop;
    };
}
