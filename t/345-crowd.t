# MemSessLock request cannot be used to occupy a member's threads: few requests of one session wait
# in one child process, the others get their answer at once, and the waiting ones ask memcached
# rarely.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;
use Time::HiRes qw(sleep time);

# This many wait in a child, MEMSESS_WAITING_MAX. A prefork child has only one request, so any
# number may wait.
my $waiting = 5;
my $prefork = ($ENV{MPM} // 'event') eq 'prefork';
plan tests => $prefork ? 2 : 3;

my @pool = pool(2);
my $m = MemSess::Member->start(servers => \@pool, config => timing() . <<'END');
<IfModule mpm_prefork_module>
    StartServers 60
    ServerLimit 60
    MaxRequestWorkers 60
</IfModule>
<IfModule !mpm_prefork_module>
    ServerLimit 1
    ThreadsPerChild 32
    MinSpareThreads 1
    MaxSpareThreads 32
    MaxRequestWorkers 32
</IfModule>
MemSessLock request
MemSessLockWait 12s
<LocationMatch /anonymous>
    MemSessOnError anonymous
</LocationMatch>
<Location /status>
    MemSess Off
    SetHandler memsess-status
</Location>
END

my $files = 0;
sub file { return sprintf '%s/logs/crowd-%d-%d', $ENV{MEMSESS_T_ROOT}, $$, ++$files }

# A request that holds the lock until the returned function is called.
sub holder {
    my ($c) = @_;
    my ($until, $notes) = (file(), file());
    my $holder = background($c->copy, '/cgi/turn?' . escape("Content-Type: text/plain\n\n"),
        "X-Notes: $notes", 'X-Name: holder', "X-Until: $until");
    wait_for(20, sub { -s $notes }) or die 'the holder does not begin';
    return sub { open my $out, '>', $until or die $!; return $holder->wait };
}

sub commands {
    my $sum = 0;
    for my $stats (map { $_->stats } @pool) {
        $sum += $stats->{$_} for qw(cmd_get cmd_set delete_hits delete_misses incr_hits incr_misses);
    }
    return $sum;
}

sub counted { my ($what) = @_;
    return client($m)->get('/status?format=json')->body =~ /"locks":\s*\{[^}]*"$what":\s*(\d+)/ ? $1
        : die 'no status' }

subtest '40 requests of one session' => sub {
    my $c = started($m, 'n=0');
    my $other = started($m, 'n=0');
    my $release = holder($c);
    my ($before, $timeouts, $start) = (commands(), counted('timeouts'), time);
    my @all = map { background($c->copy, say_via('lua', 'MemSess-Incr: n=1')) } 1 .. 40;
    if (!$prefork) {
        ok wait_for(20, sub { counted('timeouts') == $timeouts + 40 - $waiting }),
            'all but a few are turned away' or diag counted('timeouts') - $timeouts;
        cmp_ok time - $start, '<', 9, 'at once';
    }
    for my $what ([client($m), 'none', 'a visitor without a session'],
                  [client($m)->set_cookie('nonsense'), 'invalid', 'one with a cookie that is none'],
                  [$other, 'active', 'another session']) {
        my ($who, $state, $name) = @$what;
        my $r;
        my $took = seconds(sub { $r = $who->copy->get('/lua/env') });
        is $r->env('MEMSESS_STATE'), $state, $name;
        cmp_ok $took, '<', 6, 'does not wait';
    }
    my @r = map { $_->wait } @all;
    is_deeply [map { $_->status } @r], [(503) x 40], 'MemSessOnError deny';
    is_deeply [grep { !/^[1-9]\d*$/ } map { scalar $_->header('Retry-After') } @r], [],
        'with Retry-After';
    is_deeply [grep { $_ } map { scalar $_->header('Set-Cookie') } @r], [], 'the cookies stay';
    my $asked = commands() - $before;
    diag "asked $asked times, " . (time - $start) . ' s' if $ENV{TEST_VERBOSE};
    cmp_ok $asked, '<', $prefork ? 120_000 : 3600, "memcached is asked sparingly: $asked times";
    is counted('timeouts') - $timeouts, 40, 'all are counted';
    $release->();
    is data($c), 'n=0', 'nothing was changed';
    is $c->copy->get(say_via('lua', 'MemSess-Incr: n=1'))->status, 200, 'and all is as before';
    is data($c), 'n=1';
};

subtest 'as many as a browser has connections' => sub {
    my $c = started($m, 'n=0');
    my $release = holder($c);
    my $waits = counted('waits');
    my @all = map { background($c->copy, say_via('lua', 'MemSess-Incr: n=1')) } 1 .. $waiting;
    ok wait_for(20, sub { counted('waits') == $waits + $waiting }), 'they wait';
    is $release->()->status, 200, 'the one before them';
    is_deeply [map { $_->wait->status } @all], [(200) x $waiting], 'they are served';
    is data($c), "n=$waiting", 'each with its change';
};

subtest 'MemSessOnError anonymous' => sub {
    my $c = started($m, 'n=0');
    my $release = holder($c);
    my $waits = counted('waits');
    my @all = map { background($c->copy, say_via('lua', 'MemSess-Incr: n=1')) } 1 .. $waiting;
    ok wait_for(20, sub { counted('waits') == $waits + $waiting }), 'enough wait';
    my $mark = $m->log->mark;
    my $r;
    my $took = seconds(sub {
        $r = $c->copy->get(say_via('cgi/anonymous', 'MemSess-Set: n=100') =~ s/say/env/r) });
    cmp_ok $took, '<', 6, 'one more has an answer at once';
    is $r->status, 200, 'which goes on';
    is $r->env('MEMSESS_STATE'), 'unavailable', 'without a session, not with an empty one';
    is $r->header('Set-Cookie'), '', 'nor with a new one';
    like $m->log->text($mark), qr/no lock: too many requests of this session are waiting/, 'the log says why';
    $release->();
    $_->wait for @all;
    is data($c), "n=$waiting", 'the others have what they asked for';
} if !$prefork;
