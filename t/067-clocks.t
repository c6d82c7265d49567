# Clocks are set while httpd runs: anything that depends on how long something lasts is not
# affected.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;
use Time::HiRes qw(sleep time);

plan tests => 4;

my $status = q(
<Location /status>
    MemSess Off
    SetHandler memsess-status
</Location>
);

sub hour_of { (client($_[0])->get('/plain.txt')->header('Date') =~ / (\d\d):/)[0] }

my $memcached = MemSess::Memcached->start;

subtest 'a member has a clock of its own' => sub {
    my $right = MemSess::Member->start(servers => [$memcached]);
    my $m = MemSess::Member->start(servers => [$memcached], clock => '-5h');
    my $off = sub { (hour_of($m) - hour_of($right)) % 24 };
    ok wait_for(20, sub { $off->() == 19 }), '5 hours behind';
    $m->set_clock('+5h');
    ok wait_for(20, sub { $off->() == 5 }), '5 hours ahead';
    $m->graceful;
    ok wait_for(20, sub { $off->() == 5 }), '... and after a graceful restart';
    $m->set_clock(0);
    ok wait_for(20, sub { $off->() == 0 }), 'right';
};

# Every child finds out on its own, after MemSessRetry (100 ms) at most.
for my $set ('-10m', '+10m') {
    subtest "set by $set while the only server is down" => sub {
        my $server = MemSess::Memcached->start;
        my $m = MemSess::Member->start(servers => [$server], config => timing() . $status,
            clock => 0);
        my $new = sub { map { [client($m), say_via('lua', 'MemSess-Set: a=1')] } 1 .. 12 };
        is_deeply [map { $_->status } together($new->())], [(200) x 12], 'sessions begin';
        $server->kill9;
        ok wait_for(40, sub { !grep { $_->status != 503 } together($new->()) }),
            'it is down to all children';
        is status($m)->{servers}[0]{state}, 'down', '... the status says so too';
        sleep 0.3;
        $m->set_clock($set);
        sleep 0.3;
        $server->restart;
        my $back = time;
        ok wait_for(40, sub { !grep { $_->status != 200 } together($new->()) }),
            'it is back, and sessions begin in all children';
        cmp_ok time - $back, '<', 40, '... in a moment';
        is status($m)->{servers}[0]{state}, 'up', '... the status says so too';
        my $c = started($m, 'a=1');
        ok wait_for(40, sub { !grep { state($c) ne 'active' } 1 .. 10 }),
            'a session that begins now is there, in all children';
    };
}

# A lock is renewed every 2 s, and is free 10 s after its holder died.
subtest 'a lock outlives a clock that is set back, and ahead' => sub {
    my $m = MemSess::Member->start(servers => [$memcached], clock => 0,
        config => timing() . "MemSessLock request\nMemSessLockWait 50s\n");
    my $c = started($m, 'n=0');
    my ($notes, $until) = map { "$ENV{MEMSESS_T_ROOT}/logs/$_-$$" } qw(notes until);
    my $turn = sub {
        return background($c, say_via('cgi', 'MemSess-Incr: n=1') =~ s{/say}{/turn}r,
            "X-Notes: $notes", "X-Name: $_[0]", 'X-Until: ' . ($_[1] // ''));
    };
    my $noted = sub { open my $in, '<', $notes or return ''; local $/; <$in> };
    my $holder = $turn->('holder', $until);
    wait_for(20, sub { $noted->() =~ /begin holder/ }) or die 'the holder does not begin';
    sleep 3;    # one renewal is over, the next one is due
    $m->set_clock('-10m');
    sleep 1;
    my $waiter = $turn->('waiter');
    sleep 11;
    is $noted->(), "begin holder\n", 'it is held for longer than a lock lives';
    $m->set_clock('+10m');
    sleep 3;
    is $noted->(), "begin holder\n", 'still';
    open my $out, '>', $until or die $!;
    is $_->wait->status, 200, 'answered' for $holder, $waiter;
    is $noted->(), join('', map { "$_\n" } 'begin holder', 'end holder', 'begin waiter',
        'end waiter'), 'one after the other';
};
