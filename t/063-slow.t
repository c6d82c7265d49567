# A server that is up, but slow: reads do without it where others can answer for it, and nothing else
# changes.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Faulty;
use MemSess::Status;
use MemSess::Test;

plan tests => 2;

# The server is never taken for dead, and no session has to be dated again.
my $config = q(
    MemSessTimeout 20s
    MemSessRetry 100ms
    <Location "/status">
        SetHandler memsess-status
    </Location>
);

sub warns {
    my ($m) = @_;
    return scalar grep { /^server s0 is slow: its last answers took over 50 ms each/ }
        @{ status($m)->{warnings} };
}

# The values that these clients read on this member.
sub values_on { my ($m, @c) = @_; return [map { $_->copy(server => $m)->get('/lua/env')->env('MEMSESS_ATTR_a') } @c] }

sub members {
    my ($slow, @others) = @_;
    my @names = ($slow->address . '?name=s0',
        map { $others[$_]->address . '?name=s' . ($_ + 1) } 0 .. $#others);
    return map { MemSess::Member->start(servers => \@names, config => $config) } 1, 2;
}

# Reads until this member has seen the server slow.
sub becomes_slow {
    my ($slow, $m, @c) = @_;
    $slow->mode('lag');
    return wait_for(40, sub { values_on($m, @c); warns($m) });
}

subtest 'one of three' => sub {
    my @pool = pool(3);
    my $slow = MemSess::Faulty->start($pool[0]);
    my @m = members($slow, @pool[1, 2]);
    my @c = map { started($m[$_ % 2], "a=$_") } 0 .. 11;
    my @is = 0 .. 11;
    my $reads = sub { is_deeply values_on($m[0], @c), \@is, 'each reads its own' };
    cmp_ok growth(0, $reads, ['cmd_get'], $pool[0]), '>', 0, 'all servers are asked';
    ok !warns($m[0]), 'no warning';
    ok becomes_slow($slow, $m[0], @c), 'a warning' or diag $m[0]->log->text;
    ok $m[0]->log->wait_for(qr/memsess:warn.*server s0 is slow/), 'in the log, too';
    is status($m[0])->{servers}[0]{state}, 'up', 'it is up';
    is growth(0, $reads, ['cmd_get'], $pool[0]), 0, 'reads do without it';
    for my $n (0 .. 11) {
        is $c[$n]->get(say_via('lua', "MemSess-Set: a=new$n"))->status, 200, 'a change';
        $is[$n] = "new$n";
    }
    $reads->();
    is_deeply values_on($m[1], @c), \@is, 'also on the other member';
    $pool[1]->kill9;
    $reads->() for 1, 2;
    $pool[1]->restart;
    $slow->mode('pass');
    ok wait_for(40, sub { !warns($m[0]) }), 'it is quick again';
    $reads->();
    cmp_ok growth(0, $reads, ['cmd_get'], $pool[0]), '>', 0, 'and asked';
    $_->stop for @m, $slow, @pool;
};

subtest 'one of two' => sub {
    my @pool = pool(2);
    my $slow = MemSess::Faulty->start($pool[0]);
    my @m = members($slow, $pool[1]);
    my @c = map { started($m[0], "a=$_") } 0 .. 3;
    ok becomes_slow($slow, $m[0], @c), 'a warning';
    my $asked = $pool[0]->stats->{cmd_get};
    is_deeply values_on($m[0], @c), [0 .. 3], 'each reads its own';
    cmp_ok $pool[0]->stats->{cmd_get}, '>=', $asked + 4, 'it is asked: no other server may know better';
    $_->stop for @m, $slow, @pool;
};
