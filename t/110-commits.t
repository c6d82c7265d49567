# Exact commits: whatever runs side by side, on whichever member, while servers come and go, no
# acknowledged change is lost and none is made twice.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;
use MemSess::Wire;
use Time::HiRes qw(sleep time);

plan tests => 9;

my ($CLIENTS, $TIMES) = (8, 25);

my @pool = pool(3);
my @m    = map { MemSess::Member->start(servers => \@pool, config => timing()) } 1 .. 2;

# This many clients with this cookie change the session at the same time, on both members. The code
# gets the client, its number and the number of its turn, and returns the target. Returns how many
# answers had each status.
sub everybody {
    my ($c, $code, $meanwhile) = @_;
    my %answers;
    my @told = at_once($CLIENTS, sub {
        my ($k) = @_;
        my %n;
        for my $i (1 .. $TIMES) {
            my $mine = $c->copy(server => $m[rand 2]);
            $n{ $mine->get($code->($k, $i))->status }++;
        }
        return join ' ', %n;
    }, $meanwhile);
    for (@told) {
        my %n = split / /;
        $answers{$_} += $n{$_} for keys %n;
    }
    return \%answers;
}

# Both members say this of one attribute.
sub both_say {
    my ($c, $name) = @_;
    my @said = map { $c->copy(server => $_)->get('/lua/env')->env('MEMSESS_DATA')
        =~ /(?:^|&)$name=([^&]*)/ ? $1 : '' } @m;
    is $said[0], $said[1], "$name: both members say the same";
    return $said[0];
}

subtest 'increments' => sub {
    my $c = started($m[0], 'n=0');
    my $answers = everybody($c, sub { say_via('lua', 'MemSess-Incr: n=1&all=-2') });
    is_deeply $answers, { 200 => $CLIENTS * $TIMES }, 'all are answered';
    is both_say($c, 'n'), $CLIENTS * $TIMES, 'none is lost, none is done twice';
    is both_say($c, 'all'), -2 * $CLIENTS * $TIMES, 'nor of another attribute';
};

subtest 'different attributes' => sub {
    my $c = started($m[0], join '&', map { "gone$_=1" } 0 .. $CLIENTS - 1);
    my $answers = everybody($c, sub {
        my ($k, $i) = @_;
        return say_via('lua', $i == 5 ? "MemSess-Unset: gone$k" : "MemSess-Set: w$k=$i");
    });
    is_deeply $answers, { 200 => $CLIENTS * $TIMES }, 'all are answered';
    is data($c->copy(server => $_)), join('&', map { "w$_=$TIMES" } 0 .. $CLIENTS - 1),
        'all survive' for @m;
};

subtest 'the same attribute' => sub {
    my $c = started($m[0], 'one=none');
    my $answers = everybody($c,
        sub { my ($k, $i) = @_; say_via('lua', "MemSess-Set: one=$k.$i&other=$k.$i") });
    is_deeply $answers, { 200 => $CLIENTS * $TIMES }, 'all are answered';
    my $last = both_say($c, 'one');
    like $last, qr/^[0-7]\.$TIMES$/, 'the last one of somebody wins';
    is both_say($c, 'other'), $last, 'and all of it';
};

for my $fault ('kill', 'stop', 'restart') {
    subtest "while a memcached does: $fault" => sub {
        my ($c, $mark, @home) = marked($m[0], @pool);
        my $victim = $home[rand 2][0];
        my $answers = everybody($c, sub { say_via('lua', 'MemSess-Incr: n=1') }, sub {
            sleep 0.15;
            $fault eq 'kill' ? $victim->kill9 : $fault eq 'stop' ? $victim->pause
                : $victim->restart;
        });
        my ($sure, $unsure) = map { $_ // 0 } @$answers{200, 503};
        is $sure + $unsure, $CLIENTS * $TIMES, 'all are answered, at worst by 503';
        cmp_ok $sure, '>=', 0.9 * $CLIENTS * $TIMES, 'few by 503';
        my $n = both_say($c, 'n') - 1;
        ok $n >= $sure && $n <= $sure + $unsure,
            "none is lost, none is done twice: $n, $sure acknowledged, $unsure refused";
        $fault eq 'kill' ? $victim->restart : $fault eq 'stop' && $victim->resume;
        settle();
        is both_say($c, 'n') - 1, $n, 'and so it stays when the server is back';
        $home[$_][0]->restart, settle() for grep { $home[$_][0] != $victim } 0, 1;
        is both_say($c, 'n') - 1, $n, 'and when the other one is gone';
    };
}

# From here on one server is slow to answer each write, and nothing else is wrong.
my $wire = MemSess::Wire->start($pool[0]);
my @slow = map {
    MemSess::Member->start(servers => [$wire->address . '?name=slow',
        $pool[1]->address . '?name=fast'],
                           config => "MemSessTimeout 5s\nMemSessRetry 100ms\nMemSessLockWait 50s")
} 1 .. 2;

subtest 'who only reads does not wait for who writes' => sub {
    my $c = started($slow[0], 'n=1');
    $wire->mode('slow=1.5/set');
    my $writer = background($c->copy, say_via('lua', 'MemSess-Incr: n=1'));
    sleep 0.5;
    for my $m (@slow, @slow) {
        my ($r) = together([$c->copy(server => $m), '/lua/env']);
        is $r->env('MEMSESS_STATE'), 'active', 'a reader is served';
        cmp_ok $r->{seconds}, '<', 2, 'at once';
    }
    is $writer->wait->status, 200, 'the writer too';
    cmp_ok $writer->{seconds}, '>', 1.4, 'who took his time';
    $wire->mode('pass');
    is data($c), 'n=2', 'and wrote';
};

subtest 'writers of other sessions do not wait either' => sub {
    my @c = map { started($slow[0], "n=$_") } 1 .. 4;
    $wire->mode('slow=1/set');
    my @r = together(map { [$_->copy, say_via('lua', 'MemSess-Set: n=x')] } @c);
    is_deeply [map { $_->status } @r], [(200) x 4], 'all write';
    my ($least, $most) = (sort { $a <=> $b } map { $_->{seconds} } @r)[0, -1];
    cmp_ok $most, '<', 2 * $least + 1, 'side by side';
    $wire->mode('pass');
};

subtest 'a child process that is killed while it writes' => sub {
    my $c = started($slow[0], 'n=1');
    my $other = started($slow[1], 'n=1');
    $wire->mode('slow=2/set');
    my $writer = background($c->copy, say_via('lua', 'MemSess-Incr: n=1'));
    sleep 0.7;
    # The writer is killed while a server holds its answer back; that server still does what it was
    # asked.
    kill 'KILL', children_of($slow[0]);
    $wire->mode('pass');
    my ($r) = together([$c->copy(server => $slow[1]), say_via('lua', 'MemSess-Incr: n=10')]);
    is $r->status, 200, 'others write';
    cmp_ok $r->{seconds}, '<', 50, 'within MemSessLockWait';
    isnt $writer->wait->status, 200, 'the dead one has not answered';
    like data($c->copy(server => $slow[1])), qr/^n=1[12]$/, 'what it wrote is there or not';
    is data($other), 'n=1', 'nobody else has noticed';
    ok wait_for(20, sub { ($c->copy->get('/lua/env')->env('MEMSESS_DATA') // '') =~ /^n=1[12]$/ }),
        'its member goes on';
};
