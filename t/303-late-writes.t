# Writes that come late, with the id of a session that was renewed or destroyed, are dropped with a
# warning, and begin nothing that would take the place of a log-in.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Test;

plan tests => 8;

my @pool = pool(2);
my @m = map { MemSess::Member->start(servers => \@pool, config => timing() . <<'END') } 1, 2;
<LocationMatch /none>
    MemSessLock none
</LocationMatch>
END

my @listed = map { MemSess::Member->start(servers => \@pool, config => timing() . <<'END') } 1, 2;
MemSessNamespace listed
MemSessUserSessions 2
<LocationMatch ^/cgi>
    MemSessWritebackVerbs set unset incr renew destroy expire admin
</LocationMatch>
<Location /admin>
    SetHandler memsess-admin
    Require local
</Location>
END

my %writes = (
    'Set'              => 'MemSess-Set: late=1',
    'Incr'             => 'MemSess-Incr: late=1',
    'Unset'            => 'MemSess-Unset: cart',
    'Set after Destroy' => ["MemSess-Destroy: 1", 'MemSess-Set: late=1'],
);

sub lines { my ($what) = @_; return ref $writes{$what} ? @{ $writes{$what} } : $writes{$what} }

# The answer belongs to a write that was dropped, and the log says so.
sub is_dropped {
    my ($answer, $what, $m) = @_;
    my $mark = $m->log->mark;
    my $r = $answer->();
    is $r->status, 200, "$what: answered";
    ok leaves_cookie($r), "$what: without a cookie" or diag $r->{raw};
    my @warnings = $m->log->text($mark) =~ /warn\].*changes are dropped/g;
    is scalar @warnings, 1, "$what: a warning" or diag $m->log->text($mark);
}

sub log_in { return say_via('cgi', 'MemSess-Set: user=ann', 'MemSess-Renew: 1') }

subtest 'renewed: what comes with the old id' => sub {
    for my $where (qw(cgi lua proxy cgi/none)) {
        my $jar = started($m[0], 'cart=1');
        my $old = $jar->copy;
        $jar->get(log_in());
        my $cookie = $jar->cookie;
        for my $m (@m) {
            is_dropped(sub { $old->copy(server => $m)->get(say_via($where, lines($_))) },
                "$where: $_", $m) for sort keys %writes;
        }
        is data($jar->copy(server => $_)), 'cart=1&user=ann', 'nothing of it is anywhere' for @m;
        is state($old), 'unknown', 'the old id leads nowhere';
    }
};

subtest 'renewed: what was under way' => sub {
    my $jar = started($m[0], 'cart=1');
    my @late = map { [$_, slow($jar, 'cgi', lines($_))] } sort keys %writes;
    push @late, map { ["none: $_", slow($jar, 'cgi/none', lines($_))] } sort keys %writes;
    $jar->copy->get('/lua/env');
    $jar->via($m[1])->get(log_in());
    my $cookie = $jar->cookie;
    is_dropped($_->[1], $_->[0], $m[0]) for @late;
    is $jar->cookie, $cookie, 'their answers leave the cookie of the log-in';
    is data($jar), 'cart=1&user=ann', 'which is good';
};

# Each of these ends a session of a user by the user's record; the session's own record stays as it
# was.
my $user = 0;
my %ends_others = (
    'Destroy: others' => sub { $_[0]->get(say_via('cgi', 'MemSess-Destroy: others')) },
    'Destroy: id'     => sub { $_[0]->get(say_via('cgi', 'MemSess-Destroy: id=' . public($_[1]))) },
    'Destroy: user'   => sub { client($listed[1])->get(say_via('cgi', "MemSess-Destroy: user=$_[2]")) },
    'memsess-admin: user' => sub { admin("user=$_[2]") },
    'memsess-admin: id'   => sub { admin("user=$_[2]&id=" . public($_[1])) },
    'a log-in beyond MemSessUserSessions' => sub { started($listed[1], "user=$_[2]") },
);
my @others;

sub admin {
    my ($form) = @_;
    return client($listed[1])->post('/admin', $form, 'MemSess-Admin: 1',
        'Content-Type: application/x-www-form-urlencoded');
}

subtest 'ended by another one: what comes with its id soon after' => sub {
    for my $end (sort keys %ends_others) {
        my $name = 'ann' . ++$user;
        my $c = started($listed[0], "user=$name");
        let_pass(1.1) if $end =~ /beyond/;    # dates have a resolution of one second
        my $other = started($listed[0], "user=$name");
        my ($goes, $stays) = $end =~ /beyond/ ? ($c, $other) : ($other, $c);
        my $late = slow($goes->copy, 'cgi', lines('Set'));
        my $r = $ends_others{$end}->($stays, $goes, $name);
        is $r->status, 200, "$end: done" if ref($r) =~ /Response/;
        is state($goes->copy), 'unknown', "$end: it is over";
        # The write that was under way reaches the session's own record: it is as if the end had
        # come right after it.
        ok leaves_cookie($late->()), "$end: what was under way sets no cookie";
        for my $m (@listed) {
            is_dropped(sub { $goes->copy(server => $m)->get(say_via('cgi', lines($_))) },
                "$end: $_", $m) for sort keys %writes;
        }
        push @others, [$end, $goes];
    }
};

# Each of these ends one session; later writes are tried at once, and again after 30 s.
my %ends = (
    'Destroy'      => ['MemSess-Destroy: 1', 'user=ann1&cart=1'],
    'Destroy: all' => ['MemSess-Destroy: all', 'user=ann2&cart=1'],
);
my %dead;
my ($began_at, $ended_at);

subtest 'destroyed: what comes with its id soon after' => sub {
    $began_at = now;
    for my $end (sort keys %ends) {
        my ($line, $form) = @{ $ends{$end} };
        # With "all", also another session of the user, whose own record stays as it was.
        my ($jar, $other) = map { started($m[0], $form) } 1, 2;
        my @old = ($jar->copy, $end eq 'Destroy' ? () : $other);
        $jar->get(say_via('cgi', $line));
        is $jar->cookie, undef, "$end: logged out";
        for my $old (@old) {
            for my $m (@m) {
                is_dropped(sub { $old->copy(server => $m)->get(say_via('cgi', lines($_))) },
                    "$end: $_", $m) for sort keys %writes;
            }
        }
        $dead{$end} = \@old;
    }
    $ended_at = now;
};

subtest 'destroyed: 30 s later a write begins a session' => sub {
    until_after($began_at, 20);
    for my $end (sort keys %dead) {
        is_dropped(sub { $_->copy->get(say_via('cgi', lines('Set'))) }, "$end: not before", $m[0])
            for @{ $dead{$end} };
    }
    until_after($ended_at, 30.5);
    for my $end (sort keys %dead) {
        for my $m (@m) {
            for my $old (map { $_->copy(server => $m) } @{ $dead{$end} }) {
                my $cookie = $old->cookie;
                is state($old), 'unknown', "$end: unknown as ever";
                is $old->get(say_via('cgi', 'MemSess-Set: new=1'))->status, 200, 'a write';
                isnt $old->cookie, $cookie, 'begins a session';
                is data($old), 'new=1', 'with what it sets alone';
            }
        }
    }
    for (@others) {
        my ($end, $goes) = @$_;
        $goes->get(say_via('cgi', 'MemSess-Set: new=1'));
        is data($goes), 'new=1', "$end: a session begins";
    }
};

subtest 'destroyed: what was under way' => sub {
    my $jar = started($m[0], 'cart=1');
    my @late = map { [$_, slow($jar, 'cgi', lines($_))] } sort keys %writes;
    $jar->via($m[1])->get(say_via('cgi', 'MemSess-Destroy: 1'));
    $jar->via($m[0])->get(log_in());
    my $cookie = $jar->cookie;
    is_dropped($_->[1], $_->[0], $m[0]) for @late;
    is $jar->cookie, $cookie, 'the next log-in stays';
    is data($jar), 'user=ann', 'and is as it was';
};

subtest 'what has nothing to write is no matter for the log' => sub {
    my $jar = started($m[0], 'cart=1');
    my $old = $jar->copy;
    $jar->get(log_in());
    my $mark = $m[0]->log->mark;
    for my $target ('/cgi/env', say_via('cgi', 'MemSess-Destroy: 1'),
        say_via('cgi', 'MemSess-Renew: 1')) {
        my $r = $old->get($target);
        is $r->status, 200, 'answered';
        ok leaves_cookie($r), 'without a cookie';
    }
    unlike $m[0]->log->text($mark), qr/warn\].*MemSess/, 'and without a warning';
    is data($jar), 'cart=1&user=ann', 'nothing has happened';
};

# The tombstone says that the session was destroyed, and a mark tells when: if its servers lose the
# mark, only those seconds are lost.
subtest 'members whose clocks are an hour apart' => sub {
    my @apart = map { MemSess::Member->start(servers => \@pool,
        clock => $_,
        config => timing() . "MemSessNamespace clocks\nMemSessIdleTimeout 5h\n") } '-1h', '+1h';
    for my $case ([0, 1], [1, 0]) {
        my ($here, $there) = @apart[@$case];
        my $jar = started($here, 'cart=1');
        my $old = $jar->copy(server => $there);
        $jar->get(say_via('cgi', 'MemSess-Destroy: 1'));
        is_dropped(sub { $old->get(say_via('cgi', lines('Set'))) }, 'soon after', $there);
    }
};
