# Attackers who have a browser, a session of their own, and a page that shows what is in a session.
# Attacks that another topic's tests cover (forged cookies: 200, records: 090 and 205, the way back
# from a log-in: 210) are not repeated here.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::HTTP qw(h2);
use MemSess::Status;
use MemSess::Test;
use Time::HiRes qw(time);

plan tests => 2 * 4 + 6;

my $secret = private_file('260-secret', 'x' x 32);

my $config = timing() . q(
    LoadModule http2_module ${T_HTTP2}
    Protocols h2c http/1.1
    LogFormat "%U user=%{MEMSESS_ATTR_user}e data=%{MEMSESS_DATA}e end" session
    CustomLog "${T_DIR}/session_log" session
    Header always set X-User "%{MEMSESS_ATTR_user}e"
    Header always set X-Data "%{MEMSESS_DATA}e"
    RequestHeader set X-User "%{MEMSESS_ATTR_user}e"
    RewriteEngine On
    RewriteRule ^/go$ /there/%{ENV:MEMSESS_ATTR_user} [R]
    <Location /status>
        SetHandler memsess-status
    </Location>
    <LocationMatch /off>
        MemSess Off
    </LocationMatch>
    ErrorDocument 400 /proxy/echo
    ErrorDocument 413 /cgi/env
    ErrorDocument 414 /cgi/env
    ErrorDocument 417 /cgi/env
);
my @pool = pool(2);
my %member;
for my $kind (qw(unsigned signed)) {
    my $more = $kind eq 'signed' ? "MemSessSecret file:$secret\n" : '';
    $member{$kind} = [map { MemSess::Member->start(servers => \@pool,
        config => 'Define T_HTTP2 ' . MemSess::Site::query('LIBEXECDIR')
            . "/mod_http2.so\n$config$more") } 1 .. 2];
}

# This cookie shows nothing on any of these members, and writes with it are dropped.
sub is_dead {
    my ($cookie, $what, @m) = @_;
    for my $m (@m) {
        my $thief = client($m)->set_cookie($cookie);
        my $r = $thief->get('/lua/env');
        is_deeply [map { $r->env("MEMSESS_$_") } qw(STATE ID DATA)], ['unknown', undef, undef],
            "$what: unknown";
        set_via($thief, 'thief=1');
        is $thief->cookie, $cookie, "$what: a write is dropped";
        is state($thief), 'unknown', "$what: and begins nothing";
        set_via($thief, 'user=thief');
        isnt $thief->cookie, $cookie, "$what: a log-in begins a session of its own";
        is data($thief), 'user=thief', "$what: with nothing in it";
    }
}

for my $kind (sort keys %member) {
    my @m = @{ $member{$kind} };

    subtest "$kind: fixation" => sub {
        # The attacker's own session, planted in the browser of a victim who then logs in.
        my $attacker = started($m[0], 'cart=1');
        my $planted  = $attacker->cookie;
        my $anna     = client($m[1])->set_cookie($planted);
        is data($anna->copy), 'cart=1', 'planted';
        $anna->get(say_via('cgi', 'MemSess-Set: user=anna', 'MemSess-Renew: 1'));
        isnt $anna->cookie, $planted, 'another id since the log-in';
        is data($anna), 'cart=1&user=anna', 'and the same session';
        is_dead($planted, 'the planted one', @m);
        is data($anna->via($m[0])), 'cart=1&user=anna', 'which harmed nobody';
        # Both cookies in one header, in either order: never a mixture, never the attacker's
        # session.
        for my $both ("$planted; memsess=" . $anna->cookie, $anna->cookie . "; memsess=$planted") {
            my $r = client($m[0])->get('/lua/env', "Cookie: memsess=$both");
            like(($r->env('MEMSESS_DATA') // ''), qr/^(?:cart=1&user=anna)?$/, 'hers or none');
        }
        # An id that no session has, planted before there is a session.
        my $made_up = 'A' x 24;
        my $bert = client($m[0])->set_cookie($made_up);
        $bert->get(say_via('cgi', 'MemSess-Set: user=bert'));
        isnt $bert->cookie, $made_up, 'made up and planted: not adopted';
        my $r = client($m[1])->set_cookie($made_up)->get('/lua/env');
        like $r->env('MEMSESS_STATE'), qr/^(?:unknown|invalid)$/, 'and of no use';
    };

    subtest "$kind: replay" => sub {
        my $c = started($m[0], 'user=anna');
        my @old = $c->cookie;
        $c->get(say_via('cgi', 'MemSess-Renew: 1', 'MemSess-Set: n=1'));
        push @old, $c->cookie;
        $c->via($m[1])->get(say_via('lua', 'MemSess-Renew: 1', 'MemSess-Set: n=2'));
        is_dead($_, 'after renewal', @m) for @old;
        is data($c), 'n=2&user=anna', 'the session itself goes on';
        push @old, $c->cookie;
        $c->get(say_via('proxy', 'MemSess-Destroy: 1'));
        ok !defined $c->cookie, 'logged out';
        is_dead($_, 'after log-out', @m) for @old;
        # Another log-in begins another session, to which no old cookie leads.
        my $again = started($m[0], 'user=anna');
        is_dead($_, 'after another log-in', @m) for @old;
        is data($again), 'user=anna', 'which is well';
    };

    subtest "$kind: a flood of cookies that no session has" => sub {
        my ($n, $m) = (1000, $m[0]);
        my @chars = ('A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_');
        my $mac   = $kind eq 'signed' ? '.' . 'A' x 24 : '';
        my $random = sub { join('', map { $chars[rand @chars] } 1 .. 24) . $mac };
        started($m);
        my $rejected = sub { status($m)->{sessions}{rejected} };
        my $before = $rejected->();
        my @names = qw(total_items cmd_get cmd_set cmd_touch delete_hits delete_misses);
        my @before = map { $_->stats } @pool;
        for (1 .. $n / 100) {
            my $get = join '', map { "GET /lua/env HTTP/1.1\r\nHost: localhost\r\nCookie: memsess="
                . $random->() . "\r\n"
                . ($_ == 100 ? "Connection: close\r\n\r\n" : "\r\n") } 1 .. 100;
            my $answer = raw($m->port, $get)->{raw};
            my $state = $kind eq 'signed' ? 'invalid' : 'unknown';
            is scalar(() = $answer =~ /^MEMSESS_STATE=$state$/mg), 100, "a hundred are $state";
            is scalar(() = $answer =~ /^Set-Cookie:/mg), 0, 'and left alone';
        }
        my @grown = map { my $k = $_; my $now = $pool[$k]->stats;
            +{ map { $_ => $now->{$_} - $before[$k]{$_} } @names } } 0 .. 1;
        for my $grown (@grown) {
            # Members leave a sign there once a minute. The number of items at the end says nothing:
            # claims of earlier writes expire meanwhile.
            my $gets = delete $grown->{cmd_get};
            cmp_ok $grown->{$_}, '<', 10, "nothing is stored, written or deleted: $_"
                for sort keys %$grown;
            $kind eq 'signed' ? cmp_ok($gets, '<', 10, 'nothing is asked')
                : cmp_ok($gets, '<', $n + 10, "one look-up each at most: $gets");
        }
        is $rejected->() - $before, $n, 'all are counted';
    };

    subtest "$kind: cookie bombs" => sub {
        my $c = started($m[0], 'user=anna');
        my $cookie = $c->cookie;
        my %bomb = (
            'commas'             => ',' x 120000,
            'semicolons, spaces' => '; ' x 60000,
            'quotes'             => 'a="' . '\\"' x 60000,
            'equals signs'       => 'memsess' . '=' x 120000,
            'one name'           => 'a' x 120000,
            'our name, nearly'   => 'memsess' x 17000,
            'ours, malformed'    => 'memsess=x; ' x 10000,
            'ours, of the right form' => join('; ', map { "memsess=$cookie" } 1 .. 1500),
            'others'             => join('; ', map { "n$_=v" } 1 .. 12000),
            'spaces'             => 'memsess' . ' ' x 120000 . '=x',
            'bytes'              => join('', map { chr(33 + $_ % 223) } 1 .. 120000) =~ tr/\x7f//dr,
        );
        for my $what (sort keys %bomb) {
            for my $header ("$bomb{$what}; memsess=$cookie", "x=1; memsess=$cookie; $bomb{$what}") {
                my ($start, $r) = (time,
                    client($m[0])->get('/lua/env', 'Cookie: ' . substr $header, 0, 130000));
                my $took = time - $start;
                like $r->status, qr/^(?:200|400)$/, "$what: " . $r->status;
                like $r->env('MEMSESS_STATE') // '', qr/^(?:active|invalid|none|)$/,
                    "$what: " . ($r->env('MEMSESS_STATE') // '-');
                is $r->env('MEMSESS_DATA'), 'user=anna', "$what: hers"
                    if ($r->env('MEMSESS_STATE') // '') eq 'active';
                cmp_ok $took, '<', 20, "$what: no time";
                $r = client($m[0])->get('/proxy/echo', 'Cookie: ' . substr $header, 0, 130000);
                unlike $r->body, qr/^Cookie:.*\bmemsess=\Q$cookie\E/mi, "$what: stripped";
            }
        }
        is data($c), 'user=anna', 'the session is as it was';
    };
}

my $m = $member{unsigned}[0];

subtest 'sessions with very many attributes take no time' => sub {
    my $c = client($m);
    for my $k (0 .. 59) {
        $c->get(say_via('lua', 'MemSess-Set: ' . join '&',
            map { sprintf 'n-%05d=1', 1000 * $k + $_ } 0 .. 999));
    }
    for my $target ('/lua/env', '/session.shtml', '/no/such/file',
        say_via('lua', 'MemSess-Incr: n-59999=1')) {
        my ($start, $r) = (time, $c->get($target));
        cmp_ok time - $start, '<', 30, ($target =~ s/\?.*//r) . ': ' . (time - $start);
        like $r->status, qr/^(?:200|404)$/, 'an answer';
    }
    is scalar(() = data($c) =~ /&/g), 59999, 'all of them';
};

subtest 'values cannot split a response, a request or a log line' => sub {
    my $log = MemSess::Log->new($m->dir . '/session_log');
    my $evil = qr/^[ \t]*X-Evil:|^evil-line/mi;
    for my $value ("x\r\nX-Evil: 1", "x\nX-Evil: 1", "x\rX-Evil: 1", "\r\n\r\nX-Evil: 1\r\n<html>",
        "x\r\n\tX-Evil: 1", "x\x0bX-Evil: 1", "x\x0c\x85X-Evil: 1", "x\x7f\x1b[2JX-Evil",
        "\xe5\x98\x8a\xe5\x98\x8dX-Evil: 1", "%0d%0aX-Evil: 1",
        "%250d%250aX-Evil: 1", "x\nevil-line user=root", '"; MemSess-State: active',
        "x; Path=/; HttpOnly,y=1", "x, y") {
        my $c = client($m);
        my $shown = $value =~ s/([^ -~])/sprintf '\\x%02x', ord $1/gre;
        set_via($c, 'user=' . escape($value));
        is $c->copy->get('/lua/env')->env('MEMSESS_DATA') =~ s/^user=//r =~ tr/+/ /r
            =~ s/%(..)/chr hex $1/gre, $value, "kept: $shown";
        my $mark = $log->mark;
        for my $target ('/plain.txt', '/go', '/lua/env', '/cgi/env', '/proxy/echo',
            '/session.shtml', '/no/such/file') {
            my $r = $c->get($target);
            is_deeply [grep { /$evil/ } $r->lines], [], "$target: no header of its making";
            ok length $r->header('X-Data'), "$target: the data is there";
            unlike $r->body, $evil, "$target: nor a line in the body" unless $target =~ /env/;
        }
        $log->wait_for(qr{^/no/such/file user}m, $mark);
        is scalar(grep { !m{^/\S* user=.* data=\S* end$} } split /\n/, $log->text($mark)), 0,
            'log lines are whole';
    }
};

# The lines with reserved names that a back end or a script saw; the age of a log-in grows.
sub reserved { return [sort map { s/LOGIN_AGE=\K\d+/N/r }
    map { /^((?:HTTP_)?MEMSESS[-_](?!T_|ATTR)\S*?)[:=] *(.*)/i ? "$1=$2" : () } split /\r?\n/, $_[0]] }

subtest 'MemSess- headers in every wrapping' => sub {
    my $get = "Host: localhost\r\nConnection: close\r\n";
    my %wrapped = (
        'folded'                 =>
            "X-A: b\r\n MemSess-State: active\r\nMemSess-Id:\r\n forged\r\n",
        'spaces before'          => "X-A: b\r\n  MemSess-State: active\r\n",
        'a space before a colon' => "MemSess-State : active\r\n",
        'a tab before a colon'   => "memsess_id\t: forged\r\n",
        'a bare CR'              => "X-A: b\rMemSess-State: active\r\n",
        'a bare LF'              => "X-A: b\nMemSess-State: active\r\n",
        'a NUL'                  =>
            "MemSess-\0State: active\r\nX-A: \0\r\nMemSess-Data: forged\r\n",
        'after a bad line'       => "MemSess-State: active\r\nnonsense\r\nmemsess_id: forged\r\n",
        'duplicated'             => "MemSess-State: active\r\n" x 50,
        'empty'                  => "MemSess-State:\r\nMemSess-:\r\nMemSess_: x\r\n",
        'dots'                   =>
            "MemSess.State: active\r\nMemSess~Id: forged\r\nMemSess!State: x\r\n",
        'hop by hop'             => "Connection: x;MemSess-State memsess-data\r\n"
            . "TE: MemSess-Id\r\nUpgrade: MemSess-State\r\n",
        'a bad expectation'      => "Expect: nonsense\r\nMemSess-State: active\r\n",
        'a bad host'             => "Host: a b\r\nMemSess-State: active\r\n",
        'too long a field'       => "MemSess-State: active\r\nX-A: " . 'x' x 140000 . "\r\n",
        'too many fields'        => "MemSess-State: active\r\n" . "X-A: b\r\n" x 1100,
    );
    for my $target ('/proxy/echo', '/proxy/echo/off', '/cgi/env', '/cgi/env/off') {
        my %expected = map { join("\n", @{ reserved(client($m)->get($_)->body) }) => 1 } $target,
            '/proxy/echo', '/cgi/env';
        $expected{''} = 1;
        for my $what (sort keys %wrapped) {
            my $r = raw($m->port, "GET $target HTTP/1.1\r\n$get$wrapped{$what}\r\n");
            ok $expected{ join "\n", @{ reserved($r->body) } }, "$target: $what"
                or diag substr $r->{raw}, 0, 800;
            unlike $r->body, qr/=forged|STATE=active/, "$target, $what: nothing forged";
        }
    }
    my $r = raw($m->port, "GET /cgi/env HTTP/1.1\r\n$get" . "HTTP-MemSess-State: active\r\n\r\n");
    is $r->env('HTTP_MEMSESS_STATE') // '', 'none',
        'the variable that CGI makes of a header is ours';
};

subtest 'HTTP/2' => sub {
    my $c = started($m, 'user=anna');
    my $fetch = sub { return h2($m->port, @_) };
    for my $headers ([], ["Cookie: memsess=@{[ $c->cookie ]}"]) {
        for my $target ('/proxy/echo', '/proxy/echo/off', '/cgi/env', '/cgi/env/off') {
            my $plain  = $fetch->($target, @$headers);
            my $forged = $fetch->($target, @$headers, 'MemSess-State: active',
                'memsess_state: active', 'memsess-id: forged',
                'Memsess_Data: user=root', 'MEMSESS-X: 1', 'memsess_: 1');
            like $plain, qr{^HTTP/2 200}, "$target answers by HTTP/2";
            is_deeply reserved($forged), reserved($plain), "$target: nothing forged";
        }
    }
    my $said = $fetch->(say_via('proxy', 'MemSess-Set: a=1', 'MemSess-Nonsense: x', "\nbody"));
    unlike $said, qr/^memsess-/mi, 'and nothing leaks';
    like $said, qr/^set-cookie: memsess=/mi, 'but it is obeyed';
};

subtest 'a cache that is told to keep everything' => sub {
    my $cached = MemSess::Member->start(servers => \@pool, config => q(
        CacheQuickHandler Off
        CacheRoot "${T_DIR}/cache"
        CacheHeader On
        CacheIgnoreCacheControl On
        CacheIgnoreNoLastMod On
        CacheStorePrivate On
        CacheStoreNoStore On
        CacheStoreExpired On
        CacheIgnoreQueryString Off
        CacheEnable disk /cgi/page));
    my ($anna, $bert) = map { started($cached, "who=$_") } qw(anna bert);
    for my $cc ('max-age=3600', 'private', 'no-store', 'no-cache', 's-maxage=3600',
        'max-age=3600,%20Private') {
        my $page = "/cgi/page?cc=$cc&everything=1";
        for my $round (1, 2) {
            is $anna->get($page)->env('MEMSESS_DATA'), 'who=anna', "$cc: anna gets hers";
            is $bert->get($page)->env('MEMSESS_DATA'), 'who=bert', "$cc: bert gets his";
            my $r = client($cached)->get($page);
            is $r->env('MEMSESS_DATA'), '', "$cc: nobody gets nothing";
            is scalar($r->header('Set-Cookie')), '', "$cc: and no cookie";
        }
        my $login = client($cached);
        $login->get("$page&n=2", 'X-Login: carl');
        ok defined $login->cookie, "$cc: who logs in gets a cookie";
        my $r = client($cached)->get("$page&n=2");
        unlike $r->{raw}, qr/carl|^Set-Cookie/m, "$cc: that the next one does not get";
    }
    $cached->stop;
};

subtest 'what an attacker writes stays in his session' => sub {
    my $victim = started($m, 'user=anna');
    my $attacker = started($m, 'user=mallory');
    # Names that could be confused with others.
    my $r = $attacker->get(say_via('cgi',
        'MemSess-Set: STATE=x&ID=x&MEMSESS_STATE=x&.=1&-=2&_=3&a-b=1&a.b=2&a_b=3'));
    is $r->status, 200, 'odd names are names';
    $r = $attacker->get('/cgi/env');
    is $r->env('MEMSESS_STATE'), 'active', 'which hide no state';
    is $r->env('MEMSESS_ATTR_STATE'), 'x', 'but stand where attributes stand';
    is scalar(() = $r->body =~ /^MEMSESS_ATTR_a_b=/mg), 0, 'of three names that become one, none';
    for my $header ('MemSess-Set: =x', 'MemSess-Set: a%00b=x', 'MemSess-Set: a%0d%0a=x',
        'MemSess-Set: ' . 'a' x 65 . '=x', 'MemSess-Set: a=%00', 'MemSess-Set: a=%',
        'MemSess-Incr: n=9223372036854775808', 'MemSess-Unset: a/b', 'MemSess-Renew: 2') {
        is $attacker->get(say_via('cgi', $header))->status, 500, "refused: $header";
    }
    is data($victim), 'user=anna', 'the victim saw nothing of it';
};
