# MemSessLocalCache: a member's own copies. A client reads its own writes whichever member it asks;
# another client's change is seen within max-age; commits go to the pool and stay exact.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;

plan tests => 12;

my @pool = map { MemSess::Memcached->start } 1, 2;
my $secret = "$ENV{MEMSESS_T_ROOT}/logs/cache.secret";
{
    open my $out, '>', $secret or die "$secret: $!";
    print $out "a secret of the cache's tests, long enough\n";
    close $out;
    chmod 0640, $secret or die "$secret: $!";
}

my $max_age = 600;
my $config = "MemSessSecret file:$secret\nMemSessRetry 300ms\n";
my @member = map { MemSess::Member->start(servers => \@pool,
    config => $config . "MemSessLocalCache 1M max-age=${max_age}s\n") } 1, 2;

# The pool was asked and was given nothing while this ran.
sub none { my ($code, $says) = @_; is growth(0, $code, [qw(cmd_get cmd_set)], @pool), 0, $says }

subtest 'what a member has seen it serves without the pool' => sub {
    my $c = started($member[0], 'n=1');
    like $c->cookie, qr/^[\w-]{24}\.\d+\.[\w-]{22,}$/, 'the cookie carries the revision';
    my $id;
    none(sub { is data($c), 'n=1', 'what it wrote itself' for 1 .. 5 }, 'no traffic');
    is data($c->via($member[1])), 'n=1', 'read on the other, from the pool';
    none(sub { is data($c), 'n=1', 'and once more there' for 1 .. 5 }, 'no traffic');
};

# The cookie says which revision the session had, and so does a member's own copy: if only an older
# record is left, which an attacker has put back, it is neither believed nor written again.
subtest 'a record that was put back does not count, though no other is left' => sub {
    for my $n (0, 1) {
        my %before = map { $_ => 1 } map { keys %{ items($_) } } @pool;
        my $c = started($member[0], 'money=1000');
        my @key = map { grep { !$before{$_} && !/\./ } keys %{ items($_) } } @pool;
        is scalar(@key), 2, 'two copies' or return;
        my $old = $pool[$n]->get($key[$n]);
        my $early = $c->copy;
        set_via($c, 'money=0');
        my $new = $pool[1 - $n]->get($key[1 - $n]);
        $pool[$n]->set($key[$n], $old);
        $pool[1 - $n]->delete($key[1 - $n]);
        for my $told ([$c, 1, 'by the cookie'], [$early, 0, "by the member's own copy"]) {
            my ($client, $m, $by) = @$told;
            my $r = $client->copy->via($member[$m])->get('/lua/env');
            is $r->env('MEMSESS_STATE'), 'unknown', "on server $n: told $by";
            ok leaves_cookie($r), 'the cookie stays';
        }
        is $pool[$n]->get($key[$n]), $old, 'it is not written again';
        is $pool[1 - $n]->get($key[1 - $n]), undef, 'on neither server';
        $pool[1 - $n]->set($key[1 - $n], $new);
        is data($c->copy->via($member[1])), 'money=0', 'the right one is good again';
    }
};

subtest 'a client reads its own writes, whichever member it asks' => sub {
    my $c = started($member[0], 'n=0');
    for my $n (1 .. 30) {
        is data($c->via($member[$n % 2])), 'n=' . ($n - 1), 'the last write';
        set_via($c->via($member[int($n / 2) % 2]), "n=$n");
        is data($c->via($member[$_])), "n=$n", "and on member $_" for 0, 1;
    }
};

subtest 'an old cookie gets the newest state, or that of its revision' => sub {
    my $c = started($member[0], 'n=1');
    my $old = $c->copy;
    data($c->copy->via($member[1]));
    set_via($c, 'n=2');
    is data($old->copy(server => $member[0])), 'n=2', 'where it was changed: the newest';
    is data($old->copy(server => $member[1])), 'n=1', 'elsewhere: its own, within max-age';
    $old->via($member[1])->get(say_via('cgi', 'MemSess-Set: m=1'));
    is data($old->copy(server => $_)), 'm=1&n=2',
        'but a write from there loses nothing, and is read' for @member;
};

subtest 'parallel increments on both members are exact' => sub {
    my $c = started($member[0], 'n=0');
    $_->() for map { my $m = $_; sub { data($c->copy->via($m)) } } @member;
    for (1 .. 5) {
        my @answers = together(map { [$c->copy->via($member[$_ % 2]),
            say_via('cgi', 'MemSess-Incr: n=1')] } 1 .. 8);
        is scalar(grep { $_->status == 200 } @answers), 8, 'all are answered';
    }
    $c->get(say_via('cgi', 'MemSess-Incr: n=1'));
    is data($c), 'n=41', 'all are counted';
};

subtest 'log-out' => sub {
    my $c = started($member[0], 'n=1');
    my $thief = $c->copy;
    data($_) for $c->copy->via($member[1]);
    $c->get(say_via('cgi', 'MemSess-Destroy: 1'));
    isnt state($thief->copy(server => $member[0])), 'active',
        'at once on the member where it happened';
    my $d = started($member[0], 'n=1');
    $thief = $d->copy;
    $d->get(say_via('cgi', 'MemSess-Renew: 1'));
    isnt state($thief->copy(server => $member[0])), 'active', 'and so is renewal';
    is data($d), 'n=1', 'the new id goes on';
};

subtest 'what others changed is seen within max-age' => sub {
    my @brief = map { MemSess::Member->start(servers => \@pool,
        config => $config . "MemSessLocalCache 64K max-age=500ms\n") } 1, 2;
    my $c = started($brief[0], 'n=1');
    my $other = $c->copy->via($brief[1]);
    is data($other), 'n=1', 'seen there';
    $c->get(say_via('cgi', 'MemSess-Destroy: 1'));
    ok wait_for(20, sub { state($other->copy) ne 'active' }), 'gone there too';
    none(sub { is state($_), 'none', 'no cookie, no traffic' for client($brief[0]) }, 'none');
    $_->stop for @brief;
};

subtest 'time-outs hold' => sub {
    my $m = MemSess::Member->start(servers => \@pool,
        config => $config . "MemSessLocalCache 1M max-age=60s\nMemSessIdleTimeout 20s\n");
    my $c = started($m, 'n=1');
    is data($c), 'n=1', 'active';
    let_pass(21);
    is state($c), 'expired', 'expired';
    $m->stop;
};

subtest 'evicted or too large: from the pool' => sub {
    my $m = MemSess::Member->start(servers => \@pool,
        config => $config . "MemSessLocalCache 64K max-age=60s\n");
    my @c = map { started($m, "n=$_&fill=" . 'x' x 1500) } 1 .. 100;
    is $c[$_ - 1]->get('/lua/env')->env('MEMSESS_ATTR_n'), $_, "session $_" for 1 .. 100;
    my $large = client($m);
    set_via($large, 'n=large&fill=' . 'x' x 3000) for 1, 2;
    is $large->get('/lua/env')->env('MEMSESS_ATTR_n'), 'large', 'a larger one';
    $m->stop;
};

subtest 'graceful, restart, and another secret' => sub {
    my $m = $member[0];
    my $c = started($m, 'n=1');
    data($c);
    $m->graceful;
    is data($c), 'n=1', 'after graceful';
    set_via($c, 'n=2');
    $m->restart;
    is data($c), 'n=2', 'after restart';
    is data($c->via($member[1])), 'n=2', 'and elsewhere';
};

subtest 'the pool may be away for a while' => sub {
    my $c = started($member[0], 'n=1');
    data($c);
    $_->pause for @pool;
    my $r = $c->get('/lua/env');
    is $r->env('MEMSESS_DATA'), 'n=1', 'what the member has seen it goes on serving';
    is $c->get(say_via('cgi', 'MemSess-Set: n=2'))->status, 503, 'a write is refused';
    $_->resume for @pool;
    ok wait_for(20, sub { $c->get(say_via('cgi', 'MemSess-Set: n=3'))->status == 200 }), 'back';
    is data($c), 'n=3', 'written';
};

subtest 'configuration' => sub {
    for (['MemSessLocalCache 1M', qr/MemSessSecret/],
         ["MemSessSecret file:$secret\nMemSessLocalCache", qr/MemSessLocalCache takes/],
         ["MemSessSecret file:$secret\nMemSessLocalCache 10", qr/MemSessLocalCache 10: /],
         ["MemSessSecret file:$secret\nMemSessLocalCache 1X", qr/MemSessLocalCache 1X: /],
         ["MemSessSecret file:$secret\nMemSessLocalCache 1M age=1s", qr/age=1s: .*max-age=/],
         ["MemSessSecret file:$secret\nMemSessLocalCache 1M max-age=0", qr/max-age=0: /],
         ["MemSessSecret file:$secret\n<VirtualHost *:1>\nMemSessLocalCache 1M\n</VirtualHost>",
          qr/MemSessLocalCache 1M: .*outside <VirtualHost>/]) {
        my ($lines, $error) = @$_;
        my ($refused, $says) = MemSess::Member->check("$lines\n");
        ok $refused, "refused: $lines";
        like $says, $error, 'and said why';
    }
    for my $lines ("MemSessSecret file:$secret\nMemSessLocalCache 64K",
                   "MemSessSecret file:$secret\nMemSessLocalCache 1g max-age=200ms",
                   'MemSessLocalCache Off') {
        my ($refused, $says) = MemSess::Member->check("$lines\n");
        ok !$refused, "accepted: $lines" or diag $says;
    }
};
