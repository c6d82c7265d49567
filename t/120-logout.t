# A log-out is final: no late writer, no parallel request and no server that was away brings a
# destroyed or renewed session back.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;
use Time::HiRes qw(sleep);

plan tests => 19;

my @pool = pool(4);
my @m    = map { MemSess::Member->start(servers => \@pool, config => timing() . "\n" . <<'END') } 1 .. 2;
<LocationMatch /none>
    MemSessLock none
</LocationMatch>
END

# No member finds the session, and no server has any of its data.
sub is_dead {
    my ($c, $mark, $what) = @_;
    is state($c->copy(server => $m[$_])), 'unknown', "$what: unknown to member $_" for 0, 1;
    is sum(holders($mark, @pool)), 0, "$what: no copy of its data anywhere";
}

# Like marked(), for a session that was changed before with this MemSessLock.
sub marked_by {
    my ($lock) = @_;
    my ($c, $mark) = marked($m[0], @pool);
    $c->copy->get(say_via($lock eq 'none' ? 'cgi/none' : 'cgi', 'MemSess-Set: n=1')) for 1, 2;
    return ($c, $mark, homes($mark, @pool));
}

my %WRITERS = (
    set   => [cgi => 'MemSess-Set: late=1'],
    incr  => [cgi => 'MemSess-Incr: late=1'],
    unset => [cgi => 'MemSess-Unset: n'],
    renew => [cgi => 'MemSess-Renew: 1'],
    none  => ['cgi/none' => 'MemSess-Set: late=1'],
    loses => ['cgi/none' => 'MemSess-Unset: n'],
);

for my $case (map { ["$_", 'commit'], ["$_", 'none'] } qw(Destroy Renew)) {
    my ($end, $lock) = @$case;
    subtest "late writers after $end, $lock" => sub {
        my ($c, $mark) = marked_by($lock);
        my $old  = $c->copy;
        my %late = map { $_ => late($c, @{ $WRITERS{$_} }) } sort keys %WRITERS;
        my $id   = public($c);
        $c->via($m[1])->get(say_via('lua', "MemSess-$end: 1"));
        for my $what (sort keys %late) {
            my $r = $late{$what}->();
            is $r->env('MEMSESS_STATE'), 'active', "$what: had read it before";
            my ($cookie) = map { /^memsess=([A-Za-z0-9_-]+)/ } $r->header('Set-Cookie');
            isnt state(client($m[0])->set_cookie($cookie)), 'active',
                "$what: what it may have begun is not alive"
                if defined $cookie;
            is state($old->copy(server => $_)), 'unknown', "$what: the old id stays dead" for @m;
        }
        if ($end eq 'Destroy') {
            is_dead($old, $mark, 'after all');
        }
        else {
            is data($c->copy(server => $_)), "m=$mark&n=1",
                'the new id has the session as it was' for @m;
            is public($c), $id, 'it is the same session';
            # No reading repairs anything here; this waits because memcached's list of keys is
            # incomplete at times.
            my $n;
            wait_for(20, sub { ($n = sum(holders($mark, @pool))) == 2 });
            is $n, 2, 'in two copies, and no more';
        }
    };
}

subtest 'a late writer that is later than any claim' => sub {
    my ($c, $mark) = marked_by('none');
    my $old     = $c->copy;
    my @release = map { late($c, $_, 'MemSess-Set: late=1') } qw(cgi cgi/none);
    $c->get(say_via('lua', 'MemSess-Destroy: 1'));
    let_pass(7);
    $_->() for @release;
    is_dead($old, $mark, 'after it');
};

for my $case (map { ["$_", lua => 'MemSess-Incr: n=1'], ["$_", 'cgi/none' => 'MemSess-Set: n=1'] }
              qw(Destroy Renew)) {
    my ($end, @writing) = @$case;
    subtest "$end among parallel writers: @writing" => sub {
        for my $round (1 .. 3) {
            my ($c, $mark) = marked_by($round == 1 ? 'commit' : 'none');
            my $old = $c->copy;
            my $new;
            my @told = at_once(6, sub {
                my $dead = 0;
                for (1 .. 400) {
                    $old->copy(server => $m[rand 2])->get(say_via(@writing));
                    my $state = state($old->copy(server => $m[rand 2])) // 'refused';
                    return $state if $dead && $state ne 'unknown';
                    $dead++ if $state eq 'unknown';
                    return 'dead' if $dead == 10;
                }
                return 'alive';
            }, sub {
                sleep 0.2;
                $c->via($m[rand 2])->get(say_via('lua', "MemSess-$end: 1"));
                $new = data($c->copy) if $end eq 'Renew';
            });
            is_deeply \@told, [('dead') x 6], 'dead for everybody, and stays so';
            if ($end eq 'Destroy') {
                is_dead($old, $mark, 'after all');
            }
            else {
                is state($old->copy(server => $_)), 'unknown', 'the old id' for @m;
                is data($c->copy(server => $_)), $new, 'what was renewed is as it was then' for @m;
            }
        }
    };
}

for my $lock (qw(commit none)) {
    for my $end (qw(Destroy Renew)) {
        subtest "$end while one home stands still, $lock" => sub {
            for my $n (0, 1) {
                my ($c, $mark, @home) = marked_by($lock);
                my $old    = $c->copy;
                my $victim = $home[$n][0];
                $victim->pause;
                is $c->via($m[$n])->get(say_via('lua', "MemSess-$end: 1"))->status, 200, 'done';
                is state($old->copy(server => $_)), 'unknown', 'dead' for @m;
                $victim->resume;
                is state($old->copy(server => $_)), 'unknown', 'dead when the server is back' for @m;
                settle();
                is state($old->copy(server => $_)), 'unknown', 'and when it is asked again' for @m;
                $home[1 - $n][0]->kill9;
                is state($old->copy(server => $_)), 'unknown', 'and when it is the only one' for @m;
                $home[1 - $n][0]->restart;
                settle();
                is state($old->copy(server => $_)), 'unknown', 'and after all' for @m;
                is_dead($old, $mark, 'and') if $end eq 'Destroy';
            }
        };
    }

    subtest "a server that returns, and the other home lost its memory meanwhile, $lock" => sub {
        for my $n (0, 1) {
            my ($c, $mark, @home) = marked_by($lock);
            my $old = $c->copy;
            $home[$n][0]->pause;
            $c->get(say_via('lua', 'MemSess-Destroy: 1'));
            $home[$n][0]->resume;
            settle();
            $home[1 - $n][0]->restart;
            is_dead($old, $mark, 'the stand-in knows that');
            settle();
        }
    };

    subtest "a server that returns, and all who know better are away, $lock" => sub {
        my ($c, $mark, @home) = marked_by($lock);
        my $old = $c->copy;
        $home[0][0]->pause;
        # Both members have found the server silent, so both know that it was away.
        data($c->copy(server => $_)) for @m;
        $c->get(say_via('lua', 'MemSess-Destroy: 1'));
        $home[0][0]->resume;
        settle();
        my @others = grep { $_ != $home[0][0] } @pool;
        $_->pause for @others;
        isnt state($old->copy(server => $_)) // 'refused', 'active', 'it is not believed' for @m, @m;
        $_->resume for @others;
        settle();
        is_dead($old, $mark, 'they are back');
    };

    subtest "a tombstone is repaired like any record, $lock" => sub {
        my ($c, $mark, @home) = marked_by($lock);
        my $old = $c->copy;
        my @records = map { [$_, $_->[0]->item($_->[1])] } @home;
        $c->get(say_via('lua', 'MemSess-Destroy: 1'));
        for (@records, @records) {
            my ($home, @record) = @$_;
            my ($server, $key) = @$home;
            let_pass(1);
            $server->set($key, @record);
            is_dead($old, $mark, 'an old copy');
            let_pass(1);
            $server->delete($key);
            is_dead($old, $mark, 'no copy');
            ok defined $server->item($key), 'there is a tombstone again';
        }
    };
}
