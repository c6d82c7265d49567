# Several cookies of our name, as browsers send them after the scope was changed, by a parent
# domain, or by a sibling's path: the first that leads to a live session counts; four are looked up
# at most, and forged ones not at all. Only semicolons separate cookies.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;
use MemSess::Wire;
use Time::HiRes qw(sleep);

# Two members of each kind, over a pool of their own.
my $secret = "$ENV{MEMSESS_T_ROOT}/logs/two-cookies-secret";
{ open my $out, '>', $secret or die $!; print $out 's' x 40; chmod 0600, $secret }

my $common = timing() . <<'END';
<LocationMatch /short>
    MemSessIdleTimeout 20s
    MemSessRefresh 2s
</LocationMatch>
<LocationMatch /locked>
    MemSessLock request
    MemSessLockWait 40s
</LocationMatch>
<LocationMatch /bound>
    MemSessBind ua
</LocationMatch>
<LocationMatch /status>
    MemSess Off
    SetHandler memsess-status
</LocationMatch>
END

my %kind = (
    plain  => '',
    signed => "MemSessSecret file:$secret\n",
    cached => "MemSessSecret file:$secret\nMemSessLocalCache 1M max-age=60s\n",
);
my @kinds = sort keys %kind;

plan tests => 9 * @kinds + 8;

# A request with these values of our cookie, in this order.
sub with {
    my ($m, $target, @cookies) = @_;
    return client($m)->get($target, 'Cookie: ' . join '; ', map { "memsess=$_" } @cookies);
}

sub seen { my ($r) = @_; return $r->env('MEMSESS_STATE') . ' ' . ($r->env('MEMSESS_DATA') // '') }

# The cookie of a session that was ended.
sub dead {
    my ($m) = @_;
    my $c = started($m, 'dead=1');
    my $cookie = $c->cookie;
    $c->get(say_via('cgi', 'MemSess-Destroy: 1'));
    return $cookie;
}

sub live { my ($m, $name) = @_; return started($m, "name=$name")->cookie }

# How often the pool is asked, which is to be so often.
sub gets { my ($expected, $pool, $code) = @_; return growth($expected, $code, ['cmd_get'], @$pool) }

my %made;

for my $kind (@kinds) {
    my @pool = pool(2);
    my @m = map { MemSess::Member->start(servers => \@pool, config => $common . $kind{$kind}) } 1, 2;
    $made{$kind} = { pool => \@pool, m => \@m };

    subtest "$kind: the first that leads to a live session" => sub {
        my @dead = map { dead($m[0]) } 1 .. 3;
        my ($a, $b) = map { live($m[0], $_) } qw(a b);
        my %case = (
            'the live one first'        => [[$a, @dead[0, 1]], 'active name=a'],
            'the live one second'       => [[$dead[0], $a], 'active name=a'],
            'the live one fourth'       => [[@dead, $a], 'active name=a'],
            'two live ones'             => [[$a, $b], 'active name=a'],
            'and the other way round'   => [[$b, $a], 'active name=b'],
            'two, behind a dead one'    => [[$dead[0], $b, $a], 'active name=b'],
            'malformed ones before'     => [['x', '', 'A' x 99, $dead[0], $a], 'active name=a'],
            'twice the same'            => [[$dead[0], $dead[0], $dead[0], $dead[0], $a],
                                            'active name=a'],
            'none that is live'         => [[@dead], 'unknown '],
            'malformed and dead'        => [['x', $dead[0]], 'unknown '],
            'malformed alone'           => [['x', 'y'], 'invalid '],
        );
        for my $what (sort keys %case) {
            my ($cookies, $expected) = @{ $case{$what} };
            is seen(with($_, '/cgi/env', @$cookies)), $expected, $what for @m;
        }
    };

    subtest "$kind: no more than four" => sub {
        my $a = live($m[0], 'a');
        is seen(with($m[0], '/cgi/env', (map { dead($m[0]) } 1 .. 4), $a)), 'unknown ',
            'the fifth does not count';
    };

    subtest "$kind: what is changed is that one" => sub {
        my ($dead, $a, $b) = (dead($m[0]), live($m[0], 'a'), live($m[0], 'b'));
        my $r = with($m[0], say_via('cgi', 'MemSess-Set: x=1'), $dead, $a, $b);
        is $r->status, 200, 'a write';
        my ($same) = ($r->header('Set-Cookie') // '') =~ /^memsess=([^;]+)/;
        $a = $same // $a;
        is substr($a, 0, 24), substr($same, 0, 24), 'no other id' if defined $same;
        is data(client($m[1])->set_cookie($a)), 'name=a&x=1', 'is there';
        is data(client($m[1])->set_cookie($b)), 'name=b', 'and not in the other';
    };

    subtest "$kind: Destroy is of the live one" => sub {
        my ($dead, $a, $b) = (dead($m[0]), live($m[0], 'a'), live($m[0], 'b'));
        my $r = with($m[0], say_via('cgi', 'MemSess-Destroy: 1'), $dead, $a, $b);
        ok clears_cookie($r), 'the cookie is cleared';
        is seen(with($m[1], '/cgi/env', $a)), 'unknown ', 'it is over';
        is seen(with($m[1], '/cgi/env', $b)), 'active name=b', 'the other is not';
    };

    subtest "$kind: Renew" => sub {
        my ($dead, $a) = (dead($m[0]), live($m[0], 'a'));
        my $r = with($m[0], say_via('cgi', 'MemSess-Renew: 1'), $dead, $a);
        my ($new) = $r->header('Set-Cookie') =~ /^memsess=([^;]+)/;
        is seen(with($m[1], '/cgi/env', $dead, $a, $new)), 'active name=a', 'leads there';
        is seen(with($m[1], '/cgi/env', $a)), 'unknown ', 'the old one does not';
    };

    subtest "$kind: a write is late by any of them" => sub {
        my $unknown = live($m[0], 'x');
        $_->command("flush_all") for @pool;
        my %late = (
            renewed   => sub { my $c = started($m[0], 'a=1'); my $old = $c->cookie;
                $c->get(say_via('cgi', 'MemSess-Set: user=anna')); $old },
            destroyed => sub { dead($m[0]) },
            'destroyed with all' => sub { my $c = started($m[0], 'user=bert'); my $old = $c->cookie;
                $c->copy->get(say_via('cgi', 'MemSess-Destroy: all')); $old },
        );
        for my $what (sort keys %late) {
            my $late = $late{$what}->();
            for my $cookies ([$late], [$unknown, $late], [$late, $unknown]) {
                my $mark = $m[1]->log->mark;
                my $r = with($m[1], say_via('cgi', 'MemSess-Set: x=1'), @$cookies);
                is $r->status, 200, 'answered';
                ok leaves_cookie($r), "$what: nothing begins" or diag "@$cookies";
                like $m[1]->log->text($mark), qr/warn\].*changes are dropped/, 'the log says so';
            }
        }
        my $r = with($m[1], say_via('cgi', 'MemSess-Set: x=1'), $unknown);
        like $r->header('Set-Cookie'), qr/^memsess=/, 'beside none that is late, something does';
    };

    subtest "$kind: a log-in beside a dead one is no loop" => sub {
        my $dead = dead($m[0]);
        my $r = with($m[0], say_via('cgi', 'MemSess-Set: user=anna'), $dead);
        my ($new) = $r->header('Set-Cookie') =~ /^memsess=([^;]+)/;
        for my $m (@m) {
            # The browser sends both cookies, the one with the longer path first.
            my $r = with($m, '/cgi/env', $dead, $new);
            is seen($r), 'active user=anna', 'logged in';
            ok !clears_cookie($r), 'and the good one is not cleared';
        }
    };

    subtest "$kind: one that was unused for too long is not live" => sub {
        my ($a, $b) = map { live($m[0], $_) } qw(a b);
        let_pass(21);
        with($m[0], say_via('cgi', 'MemSess-Set: x=1'), $b);
        is seen(with($m[0], '/cgi/env/short', $a, $b)), 'active name=b&x=1', 'the other counts';
        is seen(with($m[0], '/cgi/env', $a, $b)), 'active name=a',
            'where it may be unused for longer, it does';
    };

    subtest "$kind: MemSessLock request locks that one alone" => sub {
        my ($dead, $a, $b) = (dead($m[0]), live($m[0], 'a'), live($m[0], 'b'));
        my $until = sprintf '%s/logs/two-cookies-%d-%s', $ENV{MEMSESS_T_ROOT}, $$, $kind;
        my $holder = background(client($m[0]), '/cgi/late/locked?' . escape("MemSess-Set: x=1\n\n"),
            "X-Until: $until", "Cookie: memsess=$dead; memsess=$a; memsess=$b");
        ok wait_for(20, sub { -e "$until.begun" }), 'one runs';
        my $r;
        my $took = seconds(sub { $r = with($m[1], '/cgi/env/locked', $b) });
        is seen($r), 'active name=b', 'the other session';
        cmp_ok $took, '<', 20, 'is free';
        my $next = background(client($m[1]), '/cgi/env/locked', "Cookie: memsess=$a");
        sleep 0.4;
        open my $out, '>', $until or die $!;
        is $holder->wait->status, 200, 'the holder ends';
        is seen($next->wait), 'active name=a&x=1', 'its own session had to wait';
    };
}

# ---- what it costs ----

subtest 'forged ones cost no look-up' => sub {
    my ($pool, $m) = ($made{signed}{pool}, $made{signed}{m}[0]);
    my $a = live($m, 'a');
    my @forged = map { my $n = $_; substr($a, 0, -4) . sprintf '%04d', $n } 1 .. 20;
    with($m, '/lua/env', $a);
    is gets(2, $pool, sub { with($m, '/lua/env', @forged, $a) }), 2, 'none before a good one';
    is gets(0, $pool, sub { with($m, '/lua/env', @forged) }), 0, 'none at all';
    is seen(with($m, '/lua/env', @forged, $a)), 'active name=a', 'which counts';
};

subtest 'a cookie alone costs what it did' => sub {
    my ($pool, $m) = ($made{plain}{pool}, $made{plain}{m}[0]);
    my $a = live($m, 'a');
    with($m, '/lua/env', $a);
    is gets(2, $pool, sub { with($m, '/lua/env', $a) }), 2, 'a look at each of its copies';
};

subtest 'all in one round trip' => sub {
    my $wire = MemSess::Wire->start((pool(1))[0]);
    my $m = MemSess::Member->start(servers => [$wire], config => "$common\nMemSessRefresh 1h\n");
    my @cookies = ((map { dead($m) } 1 .. 3), live($m, 'a'));
    with($m, '/lua/env', $cookies[3]);
    my $before = my @journal = $wire->journal;
    is seen(with($m, '/lua/env', @cookies)), 'active name=a', 'found';
    @journal = map { s/^\d+ //r } ($wire->journal)[$before .. scalar($wire->journal) - 1];
    is scalar(@journal), 1, 'one command' or diag join "\n", @journal;
    like $journal[0], qr/^get(?: \S+){4}\s*$/, 'for all four';
};

subtest 'one that is bound to another client is not live' => sub {
    my $m = $made{plain}{m}[0];
    my $r = client($m)->get(say_via('cgi/bound', 'MemSess-Set: name=bound'), 'User-Agent: one');
    my ($bound) = $r->header('Set-Cookie') =~ /^memsess=([^;]+)/;
    my $a = live($m, 'a');
    for my $case (['one', 'active name=bound'], ['other', 'active name=a']) {
        my ($agent, $expected) = @$case;
        is seen(client($m)->get('/cgi/env/bound', "User-Agent: $agent",
            "Cookie: memsess=$bound; memsess=$a")), $expected, "for $agent";
    }
};

subtest 'a store that cannot tell of the first' => sub {
    my @pool = pool(4);
    my $m = MemSess::Member->start(servers => \@pool, config => "$common\nMemSessRedundancy 1\nMemSessFailover Off\n");
    my @homes;
    my %on;
    for (1 .. 40) {
        my ($c, $mark, $home) = marked($m, @pool);
        $on{ $home->[0]->port } //= $c->cookie;
    }
    cmp_ok scalar(keys %on), '>=', 2, 'sessions on several servers';
    my ($first, $second) = (sort keys %on)[0, 1];
    my ($down) = grep { $_->port == $first } @pool;
    $down->kill9;
    my $r = with($m, '/cgi/env', @on{ $first, $second });
    is $r->status, 503, 'the one behind it is not taken for it';
    like seen(with($m, '/cgi/env', @on{ $second, $first })), qr/^active m=/,
        'one before it is good';
    $m->stop;
};

# ---- commas ----

subtest 'a comma is part of a value' => sub {
    for my $kind (qw(plain signed)) {
        my $m = $made{$kind}{m}[0];
        my ($attacker, $victim) = (live($m, 'attacker'), live($m, 'victim'));
        my $ask = sub { return client($m)->get('/cgi/env', "Cookie: $_[0]") };
        is seen($ask->("lang=en,memsess=$attacker; memsess=$victim")), 'active name=victim',
            "$kind: no other session is put under";
        is seen($ask->("lang=en, memsess=$attacker; memsess=$victim")), 'active name=victim';
        is seen($ask->("lang=en,memsess=$attacker")), 'none ', 'nor where there is none';
        is seen($ask->("memsess=$attacker,memsess=$victim")), 'invalid ', 'nor inside of ours';
        my $r = client($m)->get('/proxy/echo', "Cookie: lang=en,x=y; memsess=$victim; z=a, b");
        is $r->echoed('Cookie'), 'lang=en,x=y; z=a, b', 'the others go on as they came';
        $r = client($m)->get('/proxy/echo', "Cookie: lang=en,memsess=$attacker; memsess=$victim");
        is $r->echoed('Cookie'), "lang=en,memsess=$attacker", 'a value is left alone';
        unlike $r->body, qr/\Q$victim\E/, 'ours is taken out';
    }
};

# RFC 9113, section 8.2.3, differs from RFC 6265, section 5.4.
subtest 'fields of their own: in HTTP/2 alone' => sub {
    my $modules = MemSess::Site::query('LIBEXECDIR');
    my $m = MemSess::Member->start(servers => $made{signed}{pool}, config => "$common$kind{signed}" .
        "LoadModule http2_module $modules/mod_http2.so\nProtocols h2c http/1.1\n");
    my $ours = 'Cookie: memsess=' . live($m, 'a');
    for my $fields ([$ours, 'Cookie: x=1'], ['Cookie: x=1', $ours], ['Cookie: x=1', $ours, 'Cookie: y=2']) {
        my $what = join ' ', map { /memsess/ ? 'ours' : 'another' } @$fields;
        like MemSess::HTTP::h2($m->port, '/cgi/env', @$fields), qr/^MEMSESS_DATA=name=a$/m, $what;
        my $others = join '; ', map { /memsess/ ? () : substr $_, 8 } @$fields;
        like MemSess::HTTP::h2($m->port, '/proxy/echo', @$fields), qr/^Cookie: \Q$others\E\r?$/m,
            "$what: ours is taken out";
    }
    # When httpd joins two lines, the comma cannot be told from one in a value.
    is seen(client($m)->get('/cgi/env', $ours, 'Cookie: x=1')), 'invalid ', 'HTTP/1: the first';
    is seen(client($m)->get('/cgi/env', 'Cookie: x=1', $ours)), 'none ', 'HTTP/1: the second';
    $m->stop;
};

subtest 'back ends see none of them' => sub {
    my $m = $made{plain}{m}[0];
    my ($dead, $a) = (dead($m), live($m, 'a'));
    my $r = client($m)->get('/proxy/echo', "Cookie: x=1; memsess=$dead; y=2; memsess=$a; memsess=bad");
    is $r->echoed('Cookie'), 'x=1; y=2', 'all of that name are taken out';
    like $r->echoed('MemSess-Data'), qr/name=a/, 'the session is shown';
};
