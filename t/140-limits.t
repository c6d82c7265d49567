# Servers that are full, evict, or take no large items: a clear error or a certain miss comes soon,
# and the session is as it was, or gone, but never half.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;
use Time::HiRes qw(sleep time);

plan tests => 8;

sub noise { my ($n) = @_; return join '', map { chr(65 + rand 26) } 1 .. $n }

my $fillers = 0;

# Stores this many items, with keys as long as the module's; returns how many the server took.
sub fill {
    my ($server, $count, $size) = @_;
    my $s = $server->connection;
    my ($stored, $value) = (0, 'x' x $size);
    for (1 .. $count / 100) {
        $s->print(map { sprintf "set filler%045d 0 0 $size\r\n$value\r\n", ++$fillers } 1 .. 100);
        for (1 .. 100) { $stored++ if (<$s> // die "memcached closed\n") =~ /^STORED/ }
    }
    return $stored;
}

# Fills the server until this key is evicted.
sub evict {
    my ($server, $key) = @_;
    my $size = length $server->get($key);
    for (1 .. 20) {
        fill($server, 6000, $size);
        return 1 unless defined $server->get($key);
    }
    return 0;
}

# Changes a session as this client; returns the status, which must come soon.
sub change {
    my ($c, $header) = @_;
    my ($r) = together([$c, say_via('lua', $header)]);
    cmp_ok $r->{seconds}, '<', 20, "told soon: $r->{seconds}";
    is_deeply [$r->leaks], [], 'nothing leaks';
    return $r;
}

# Makes the session larger by 50 kB at a time, up to 600 kB or until that is refused, and checks
# after every step that it is what the answers say. Returns how many steps succeeded.
sub grow {
    my ($c) = @_;
    for my $n (1 .. 12) {
        my $r = change($c, "MemSess-Set: n=$n&v$n=" . noise(50000));
        my $done = $r->status == 200 ? $n : $n - 1;
        like $r->status, qr/^(?:200|500)$/, "step $n: " . $r->status;
        for (1 .. 2) {
            my $env = $c->copy->get('/lua/env');
            is attr($env, 'n'), $done, 'the session is as that said';
            is length(join '', map { attr($env, "v$_") // '' } 1 .. $n), 50000 * $done, 'all of it';
            sleep 0.25 if $n > 8;
        }
        return $done if $done < $n;
    }
    return 12;
}

subtest 'items too large for one server of two' => sub {
    my @pool = (MemSess::Memcached->start(args => ['-I', '512k']), pool(1));
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . 'MemSessCompress Off');
    my ($c, $mark) = marked($m, @pool);
    my $done = grow($c);
    cmp_ok $done, '>', 5, 'some fit';
    is change($c, 'MemSess-Unset: ' . join '&', map { "v$_" } 1 .. 12)->status, 200,
        'made small again';
    is data($c), "m=$mark&n=$done", 'the rest is there';
    is_deeply [holders($mark, @pool)], [1, 1], 'in two copies';
    $_->stop for $m, @pool;
};

subtest 'reading what is too large for one server writes nothing' => sub {
    my @pool = (MemSess::Memcached->start(args => ['-I', '512k']), pool(2));
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . 'MemSessCompress Off');
    my @c = map {
        my ($c) = marked($m, @pool);
        change($c, "MemSess-Set: v$_=" . noise(50000)) for 1 .. 12;
        $c;
    } 1 .. 6;
    for my $c (@c) {
        my $read = sub { is length attr($c->copy->get('/lua/env'), 'v12'), 50000, 'it is there' for 1 .. 3 };
        is sum(map { my $server = $_; $server->writes($read) } @pool), 0, 'nothing is written';
    }
    my ($small, $mark, @home) = marked($m, @pool);
    my ($refuses) = grep { $_->[0] == $pool[0] } @home;
    $refuses ||= $home[0];
    $refuses->[0]->delete($refuses->[1]);
    ok repaired($small, $mark, 2, @pool), 'what is small is repaired everywhere';
    $_->stop for $m, @pool;
};

subtest 'items too large for all' => sub {
    my @pool = pool(2, args => ['-I', '512k']);
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . 'MemSessCompress Off');
    my ($c, $mark) = marked($m, @pool);
    my $done = grow($c);
    cmp_ok $done, '>', 5, 'some fit';
    cmp_ok $done, '<', 12, 'not all';
    is_deeply [holders($mark, @pool)], [1, 1], 'what was before is there in two copies';
    is change($c, "MemSess-Set: v1=small&n=s")->status, 200, 'what fits is taken';
    is attr($c->get('/lua/env'), 'n'), 's', 'as before';
    $_->stop for $m, @pool;
};

# A server that is full takes no claim, and would keep the copy of an older revision.
subtest 'one server of two is full' => sub {
    my @pool = (MemSess::Memcached->start(args => ['-m', '2', '-M']), pool(1));
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . 'MemSessCompress Off');
    my @c = map { [marked($m, @pool)] } 1 .. 4;
    cmp_ok fill($pool[0], 12000, $_), '<', 12000, "full for $_ bytes" for 60, 40, 50, 80, 100;
    for (@c) {
        my ($c, $mark) = @$_;
        is change($c, "MemSess-Set: n=$_")->status, 200, 'changed' for 2, 3;
        is data($c), "m=$mark&n=3", 'as that said';
        is_deeply [holders($mark, @pool)], [0, 1], 'an old copy is gone';
    }
    $pool[1]->kill9;
    for (@c) {
        my ($c, $mark) = @$_;
        is state($c->copy), 'unknown', 'what was acknowledged is not undone when the other one dies';
    }
    $_->stop for $m, @pool;
};

subtest 'servers that are full and evict nothing' => sub {
    my @pool = pool(2, args => ['-m', '2', '-M']);
    my $m = MemSess::Member->start(servers => \@pool, config => timing() . 'MemSessCompress Off');
    my @c = map { [marked($m, @pool)] } 1 .. 4;
    # Fills the servers for every size that a session here may have.
    for my $server (@pool) {
        for my $size (60, 120, 160, 200, 260, 320, 1200) {
            my $count = 100 * int(30000 / $size);
            cmp_ok fill($server, $count, $size), '<', $count, "full for $size bytes";
        }
    }
    my $new = client($m);
    my $r = change($new, 'MemSess-Set: a=' . noise(1000));
    is $r->status, 500, 'a new session: refused';
    is $new->cookie, undef, 'and there is none';
    for (@c) {
        my ($c, $mark) = @$_;
        is data($c->copy), "m=$mark&n=1", 'a session that was there is read';
        my $n = 1;
        for my $k (1 .. 5) {
            my $r = change($c, "MemSess-Set: n=@{[ $n + 1 ]}&more=" . 'x' x (30 * $k));
            like $r->status, qr/^(?:200|50[03])$/, 'changed or refused: ' . $r->status;
            $n++ if $r->status == 200;
            my $env = $c->copy->get('/lua/env');
            if (($env->env('MEMSESS_STATE') // '') eq 'active') {
                is attr($env, 'n'), $n, 'as that said';
                is attr($env, 'm'), $mark, 'and nobody else\'s';
            }
            else {
                is $env->env('MEMSESS_STATE'), 'unknown', 'or gone';
                last;
            }
        }
    }
    unlike $m->log->text, qr/is down/, 'a server that is full is not down';
    $_->stop for $m, @pool;
};

for my $copies (1, 2) {
    subtest "eviction, $copies copies" => sub {
        # The old order of eviction: the item that was not stored for longest goes first.
        my @pool = pool($copies, args => ['-m', '2', '-o', 'no_lru_maintainer']);
        my $m = MemSess::Member->start(servers => \@pool, config => timing());
        my ($c, $mark, @home) = marked($m, @pool);
        if ($copies == 2) {
            ok evict(@{ $home[0] }), 'one is evicted';
            sleep 0.3;
            is data($c->copy), "m=$mark&n=1", 'the session is still there';
            is sum(holders($mark, @pool)), 2, 'and repaired';
        }
        ok evict(@$_), 'evicted' for @home;
        my $old = $c->copy;
        my ($r) = together([$c, '/lua/env']);
        is $r->env('MEMSESS_STATE'), 'unknown', 'a certain miss';
        cmp_ok $r->{seconds}, '<', 20, "soon: $r->{seconds}";
        ok leaves_cookie($r), 'the cookie stays';
        $r = change($old, 'MemSess-Incr: n=1');
        is $r->status, 200, 'a change begins a new session';
        is data($old), 'n=1', 'of which the old one is no part';
        $_->stop for $m, @pool;
    };
}

subtest 'a copy that is evicted while a commit needs it' => sub {
    my @pool = pool(2, args => ['-m', '2', '-o', 'no_lru_maintainer']);
    my @m    = map { MemSess::Member->start(servers => \@pool, config => timing()) } 1 .. 2;
    my ($c, $mark, @home) = marked($m[0], @pool);
    my @told = at_once(4, sub {
        my $sure = 0;
        for (1 .. 40) {
            my $r = $c->copy(server => $m[rand 2])->get(say_via('lua', 'MemSess-Incr: n=1'));
            $sure++ if $r->status == 200;
        }
        return $sure;
    }, sub { fill($home[0][0], 6000, 120) for 1 .. 8 });
    is_deeply \@told, [(40) x 4], 'all are answered';
    is data($c), "m=$mark&n=161", 'and counted';
    $_->stop for @m, @pool;
};
