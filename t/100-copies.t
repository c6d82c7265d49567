# Copies: exactly as many as configured, each on another server; a copy that is missing, older or
# damaged is repaired; and no server that was away brings old data back.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;

plan tests => 15;

my @pool = pool(4);
my @m    = map { MemSess::Member->start(servers => \@pool, config => timing()) } 1 .. 2;

# The client reads this from either member.
sub is_data_of_both {
    my ($c, $data, $what) = @_;
    is data($c->copy(server => $m[$_])), $data, "$what: member $_" for 0, 1;
}

for my $n (1, 2, 3, 4) {
    subtest "MemSessRedundancy $n, whatever the weights" => sub {
        my @weights = (1, 1000, 3, 100);
        my $m = MemSess::Member->start(config => timing() . "MemSessRedundancy $n",
                                       servers => [map { $pool[$_]->address
                                           . "?weight=$weights[$_]" } 0 .. 3]);
        for (1 .. 6) {
            my ($c, $mark) = marked($m);
            my @held = holders($mark, @pool);
            is_deeply [sort @held], [(0) x (4 - $n), (1) x $n], "a new session: @held";
            set_via($c, 'n=2', 'lua');
            is_deeply [holders($mark, @pool)], \@held, 'changed, in the same places';
        }
        $m->stop;
    };
}

subtest 'a copy that is missing is repaired' => sub {
    for my $n (0, 1) {
        my ($c, $mark, @home) = marked($m[$n], @pool);
        is scalar @home, 2, 'two copies';
        for my $lost (@home) {
            let_pass(1);
            $lost->[0]->delete($lost->[1]);
            is sum(holders($mark, @pool)), 1, 'one is lost';
            is_data_of_both($c, "m=$mark&n=1", 'read');
            is sum(holders($mark, map { $_->[0] } @home)), 2, 'and it is there again, where it was';
        }
    }
};

subtest 'a copy that is older is repaired' => sub {
    my ($c, $mark, @home) = marked($m[0], @pool);
    for my $old (@home) {
        my $n = attr($c->get('/lua/env'), 'n');
        my ($server, $key) = @$old;
        my @before = $server->item($key);
        set_via($c, 'n=' . ($n + 1), 'lua');
        let_pass(1);
        $server->set($key, @before);
        is_data_of_both($c, "m=$mark&n=" . ($n + 1), 'the newer one is read');
        like $server->get($key), qr/n\0....@{[ $n + 1 ]}\0/s, 'and is on the other server too';
    }
};

subtest 'a copy that is damaged is repaired' => sub {
    my ($c, $mark, @home) = marked($m[0], @pool);
    for my $bad (@home) {
        my ($server, $key) = @$bad;
        my ($value) = $server->item($key);
        for my $damage ('', 'rubbish', substr($value, 0, length($value) / 2), "$value$value",
                        $value =~ s/Mark/Murk/r) {
            let_pass(1);
            $server->set($key, $damage);
            is_data_of_both($c, "m=$mark&n=1", 'the other one is read');
            is sum(holders($mark, $server)), 1, 'and is here again';
        }
    }
};

subtest 'while a server is down another one stands in' => sub {
    my ($victim, @others) = @pool;
    my @c = map { [marked($m[$_ % 2], @pool)] } 1 .. 12;
    my @had = grep { grep { $_->[0] == $victim } @$_[2, 3] } @c;
    cmp_ok scalar @had, '>', 0, 'it has some sessions';
    $victim->kill9;
    for (@c) {
        my ($c, $mark) = @$_;
        set_via($c->via($m[rand 2]), 'n=2', 'lua');
        is sum(holders($mark, @others)), 2, 'changed: two copies';
        my ($new, $new_mark) = marked($m[rand 2]);
        is sum(holders($new_mark, @others)), 2, 'begun: two copies';
    }
    $victim->restart;
    for (@c) {
        my ($c, $mark) = @$_;
        is_data_of_both($c, "m=$mark&n=2", 'back, empty');
    }
    settle();
    for (@had) {
        my ($c, $mark) = @$_;
        ok repaired($c, $mark, 2, map { $_->[0] } @$_[2, 3]), 'and the copies are at home again';
    }
};

subtest 'a session that is only read gets its second copy too while a server is down' => sub {
    my ($victim, @others) = @pool[1, 0, 2, 3];
    my @had;
    for (1 .. 40) {
        my @one = marked($m[0], @pool);
        push @had, \@one if grep { $_->[0] == $victim } @one[2, 3];
        last if @had == 3;
    }
    let_pass(1);
    $victim->kill9;
    for (@had) {
        my ($c, $mark) = @$_;
        ok repaired($c, $mark, 2, @others), 'two copies';
    }
    $victim->restart;
    settle();
};

subtest 'what a server remembers from before it was away' => sub {
    for my $n (0 .. 3) {
        my ($c, $mark, @home) = marked($m[$n % 2], @pool);
        my ($victim, $other) = map { $_->[0] } @home[$n < 2 ? (0, 1) : (1, 0)];
        $victim->pause;
        set_via($c->via($m[rand 2]), 'n=2', 'lua');
        $victim->resume;
        is_data_of_both($c, "m=$mark&n=2", 'is not believed') for 1 .. 2;
        settle();
        is_data_of_both($c, "m=$mark&n=2", 'later, too');
        $other->kill9;
        is_data_of_both($c, "m=$mark&n=2", 'it has learnt what it missed');
        $other->restart;
        settle();
    }
};

subtest 'a server that was away and missed nothing is believed' => sub {
    for my $n (0, 1) {
        my ($c, $mark, @home) = marked($m[0], @pool);
        my ($blinked, $other) = map { $_->[0] } @home[$n, 1 - $n];
        $blinked->pause;
        # Other sessions find that out.
        for my $m (@m) { started($m) for 1 .. 12 }
        $blinked->resume;
        settle();
        is_data_of_both($c, "m=$mark&n=1", 'it goes on');
        $other->kill9;
        is_data_of_both($c, "m=$mark&n=1", 'it is the only one left');
        $other->restart;
        settle();
    }
};

subtest 'nor where the other home has lost its memory meanwhile' => sub {
    for my $n (0, 1) {
        my ($c, $mark, @home) = marked($m[$n], @pool);
        my ($victim, $other) = map { $_->[0] } @home[$n, 1 - $n];
        $victim->pause;
        set_via($c->via($m[$n]), 'n=2', 'lua');
        $victim->resume;
        settle();
        $other->restart;
        # The second copy is on the stand-in.
        is_data_of_both($c, "m=$mark&n=2", 'the stand-in knows better');
        settle();
    }
};

subtest 'nor where all who know better are away' => sub {
    # A session that is written right after a server's return is read again, and repaired, some
    # seconds later.
    let_pass(7);
    my ($c, $mark, @home) = marked($m[0], @pool);
    my ($victim) = map { $_->[0] } @home;
    $victim->pause;
    set_via($c->via($_), 'n=2', 'lua') for @m;
    my @knowing = map { $_->[0] } homes($mark, grep { $_ != $victim } @pool);
    is scalar @knowing, 2, 'two others know better';
    $victim->resume;
    settle();
    $_->pause for @knowing;
    is $c->copy(server => $_)->get('/lua/env')->status, 503, 'nothing is better than something old'
        for @m, @m;
    $_->resume for @knowing;
    settle();
    is_data_of_both($c, "m=$mark&n=2", 'they are back');
};

# One child process writes while the server is away. Others have nothing to do meanwhile.
subtest 'nor by a child process that noticed nothing' => sub {
    my @two = pool(2);
    my $m = MemSess::Member->start(servers => \@two, mpm => 'prefork', config => timing() . q(
        StartServers 12
        MinSpareServers 12));
    my $c = started($m, 'n=1');
    my $ask_all = sub { together(map { [$c->copy, '/lua/env'] } 1 .. 12) };
    is_deeply [map { attr($_, 'n') } $ask_all->()], [(1) x 12], 'all know it';
    $two[0]->pause;
    set_via($c, 'n=2', 'lua');
    $two[0]->resume;
    settle();
    $two[1]->pause;
    my @seen = map { attr($_, 'n') // 'nothing' } map { $ask_all->() } 1 .. 4;
    is_deeply [grep { $_ eq 1 } @seen], [], 'nobody sees what was before';
    $two[1]->resume;
    ok wait_for(20, sub { !grep { (attr($_, 'n') // 0) != 2 } $ask_all->() }), 'what was written last is there';
    $_->stop for $m, @two;
};

subtest 'MemSessFailover Off' => sub {
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . qq(
        MemSessFailover Off
        <LocationMatch /anonymous>
            MemSessOnError anonymous
        </LocationMatch>));
    my @c = map { [marked($m, @pool)] } 1 .. 20;
    my @victims = map { $_->[0] } @{ $c[0] }[2, 3];
    my $gone = sub { my ($one) = @_;
        return scalar grep { my $home = $_->[0]; grep { $_ == $home } @victims } @$one[2, 3] };
    $_->kill9 for @victims;
    for (@c) {
        my ($c, $mark) = @$_;
        if ($gone->($_) == 2) {
            is $c->get('/lua/env')->status, 503, 'both homes are down: 503';
            is $c->get('/cgi/env/anonymous')->env('MEMSESS_STATE'), 'unavailable',
                'unavailable, not unknown';
            ok defined $c->cookie, 'the cookie stays';
        }
        else {
            is data($c), "m=$mark&n=1", 'one is left: it is read';
            set_via($c, 'n=2', 'lua');
            is sum(holders($mark, grep { my $s = $_; !grep { $_ == $s } @victims } @pool)),
                2 - $gone->($_), 'nobody stands in';
        }
    }
    $_->restart for @victims;
    $m->stop;
    settle();
};
