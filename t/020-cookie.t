# The cookie: what it looks like, what is accepted as one, and who gets to see it.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 14;

my $pem = certificate('tls', 'localhost');

my $memcached = MemSess::Memcached->start;
my $m = MemSess::Member->start(servers => [$memcached], config => q(
    <LocationMatch /renamed>
        MemSessCookie SID
    </LocationMatch>
    <LocationMatch /dressed>
        MemSessCookie dressed Path=/cgi Domain=example.com SameSite=Strict Secure=on HttpOnly=off \\
            Max-Age=3600
    </LocationMatch>
    <LocationMatch /cross_site>
        MemSessCookie cross SameSite=None Secure=on Partitioned
    </LocationMatch>
    <LocationMatch /host>
        MemSessCookie __Host-id Secure=on Path=/
    </LocationMatch>
    <LocationMatch /insecure>
        MemSessCookie plain Secure=off
    </LocationMatch>
    <LocationMatch /forward>
        MemSessCookieForward On
    </LocationMatch>
    <LocationMatch /off>
        MemSess Off
    </LocationMatch>
    RewriteEngine On
    RewriteRule ^/rewritten$ /cgi/env [PT]
    RewriteRule ^/rewritten_to_proxy$ /proxy/echo [PT]
    RewriteRule ^/proxied_by_rewrite$ http://127.0.0.1:${T_BACKEND}/echo [P]
    ErrorDocument 404 /cgi/env
    ErrorDocument 403 /proxy/echo
    ErrorDocument 400 /cgi/env
    ErrorDocument 414 /proxy/echo
    <Location /forbidden>
        Require all denied
    </Location>

    SSLSessionCache none
    Listen 127.0.0.1:${T_TLS_PORT} https
    <VirtualHost 127.0.0.1:${T_TLS_PORT}>
        SSLEngine On
        SSLCertificateFile "${T_ROOT}/logs/tls.pem"
        ScriptAlias /cgi/ "${T_ROOT}/cgi-bin/"
    </VirtualHost>
));

# Returns name, value and the set of attributes in lower case.
sub parse {
    my ($line) = @_;
    my ($pair, @attributes) = split /\s*;\s*/, $line;
    my ($name, $value) = split /=/, $pair, 2;
    return ($name, $value, join '; ', sort map { lc } @attributes);
}

sub new_cookies {
    my ($where, %how) = @_;
    my $r = client($m, %how)->get(say_via("cgi/$where", 'MemSess-Set: a=1'));
    return $r->header('Set-Cookie');
}

# Sends these header lines; returns the state, and whether the store was asked.
sub sent {
    my ($target, @headers) = @_;
    my $r;
    my $traffic = $memcached->traffic(sub { $r = client($m)->get($target, @headers) });
    return ($r, $traffic);
}

my $c = started($m, 'a=1');
my $cookie = $c->cookie;

subtest 'attributes' => sub {
    my %expected = (
        default    => ['memsess', 'httponly; path=/; samesite=lax'],
        renamed    => ['SID', 'httponly; path=/; samesite=lax'],
        dressed    => ['dressed',
            'domain=example.com; max-age=3600; path=/cgi; samesite=strict; secure'],
        cross_site => ['cross', 'httponly; partitioned; path=/; samesite=none; secure'],
        host       => ['__Host-id', 'httponly; path=/; samesite=lax; secure'],
        insecure   => ['plain', 'httponly; path=/; samesite=lax'],
    );
    for my $where (sort keys %expected) {
        my @cookies = new_cookies($where);
        is scalar @cookies, 1, "$where: one cookie";
        my ($name, $value, $attributes) = parse($cookies[0]);
        is_deeply [$name, $attributes], $expected{$where}, $where;
    }
};

subtest 'Secure=auto is Secure over https' => sub {
    my $secure = client($m, tls => 1);
    my $r = $secure->get(say_via('cgi', 'MemSess-Set: a=1'));
    is $r->status, 200, 'https answers' or diag $r->{raw};
    my ($name, $value, $attributes) = parse($r->header('Set-Cookie') // '');
    is $attributes, 'httponly; path=/; samesite=lax; secure', 'default';
    ($name, $value, $attributes) =
        parse(client($m, tls => 1)->get(say_via('cgi/insecure',
            'MemSess-Set: a=1'))->header('Set-Cookie'));
    is $attributes, 'httponly; path=/; samesite=lax', 'Secure=off is off even there';
};

subtest 'what clears it matches what set it' => sub {
    for my $where (qw(default dressed cross_site host)) {
        my $target = say_via("cgi/$where", 'MemSess-Set: a=1');
        my ($name, $value, $attributes) = parse(client($m)->get($target)->header('Set-Cookie'));
        $target = say_via("cgi/$where", 'MemSess-Destroy: 1');
        my @cleared = client($m)->get($target, "Cookie: $name=$value")->header('Set-Cookie');
        is scalar @cleared, 1, "$where: one Set-Cookie";
        my ($cleared, $empty, $now) = parse($cleared[0]);
        is $cleared, $name, 'of the same name';
        is $empty, '', 'empty';
        like $now, qr/max-age=0|expires=thu, 01 jan 1970/, 'over';
        for my $attribute (grep { /^(?:path|domain|secure|partitioned|samesite)/ } split /; /,
            $attributes) {
            like "; $now;", qr/; \Q$attribute\E;/, "$where: $attribute";
        }
    }
};

subtest 'ids' => sub {
    my %ids = map { (parse(new_cookies('default')))[1] => 1 } 1 .. 50;
    is scalar(keys %ids), 50, 'all differ';
    is_deeply [grep { !/^[A-Za-z0-9_-]{24}$/ } keys %ids], [], '24 characters of base64url';
    for my $position (0 .. 23) {
        my %at = map { substr($_, $position, 1) => 1 } keys %ids;
        cmp_ok scalar(keys %at), '>', 3, "character $position varies";
    }
};

subtest 'the storage key is not the id' => sub {
    is_deeply [grep { /\Q$cookie\E/ } $memcached->keys], [], 'not in any key';
    is_deeply [grep { /[^\x21-\x7e]/ || length > 250 } $memcached->keys], [],
        'keys are well-formed';
};

subtest 'malformed cookies cost no store traffic' => sub {
    my %malformed = (
        'empty'                  => '',
        'one character'          => 'A',
        'one too few'            => substr($cookie, 1),
        'one too many'           => "${cookie}A",
        'a bad character'        => substr($cookie, 1) . '!',
        'a dot'                  => substr($cookie, 1) . '.',
        'standard base64'        => substr($cookie, 2) . '+/',
        'padded'                 => substr($cookie, 1) . '=',
        'percent-encoded'        => '%' . sprintf('%02X', ord $cookie) . substr($cookie, 1),
        'a quote'                => qq("$cookie),
        'bytes above 127'        => substr($cookie, 4) . "\xc3\xa9\xff\xfe",
        'a tab inside'           => substr($cookie, 0, 12) . "\t" . substr($cookie, 12),
        'a path'                 => '../../../../etc/passwd',
        'a memcached command'    => 'x flush_all 0 noreply',
        map({ ("$_ bytes" => 'A' x $_) } 25, 255, 256, 1000, 4096, 8192, 65000),
        '64 kB of anything'      => join('',
            map { chr((33 .. 43, 45 .. 58, 60 .. 126, 128 .. 255)[rand 220]) } 1 .. 65000),
    );
    for my $what (sort keys %malformed) {
        my ($r, $traffic) = sent('/cgi/env', "Cookie: memsess=$malformed{$what}");
        is_deeply [$r->status, $traffic], [200, 0], "$what: no traffic"
            or diag substr $r->{raw}, 0, 300;
        is $r->env('MEMSESS_STATE'), 'invalid', "$what: invalid";
        is $r->env('MEMSESS_DATA') // '', '', "$what: no data";
        ok leaves_cookie($r), "$what: the cookie stays";
    }
};

subtest 'headers that contain no cookie of ours' => sub {
    my @headers = ('', ';', ';;;', '=', '=memsess', 'memsess', 'memsess;', 'other=memsess',
        "other=$cookie", "xmemsess=$cookie", "memsess2=$cookie", "memsess_=$cookie",
        "MEMSESS=$cookie", qq(other="; memsessx=$cookie), 'a=b,c=d',
        "a=b,memsess=$cookie", "a=b, memsess=$cookie", ",memsess=$cookie", '$Version=1; a=b',
        '; ' x 5000, 'a=b; ' x 5000, ',' x 10000, "\xff" x 1000, '"' x 1000);
    for my $header (@headers) {
        my ($r, $traffic) = sent('/cgi/env', "Cookie: $header");
        my $shown = substr $header =~ s/([^ -~])/./gr, 0, 40;
        is_deeply [$r->status, $traffic], [200, 0], "no traffic: $shown";
        like $r->env('MEMSESS_STATE'), qr/^(?:none|invalid)$/, "no session: $shown";
    }
};

subtest 'a cookie of ours among others' => sub {
    my $other = started($m, 'a=other')->cookie;
    my %header = (
        'alone'                       => ["memsess=$cookie"],
        'first'                       => ["memsess=$cookie; x=1"],
        'last'                        => ["x=1; memsess=$cookie"],
        'no space'                    => ["x=1;memsess=$cookie;y=2"],
        'much space'                  => ["x=1  ;   memsess=$cookie   ;  y"],
        'a quoted neighbour'          => [qq(x="1"; memsess=$cookie)],
        'twice the same'              => ["memsess=$cookie; memsess=$cookie"],
        'a malformed one before'      => ["memsess=bad; memsess=$cookie"],
        'a malformed one after'       => ["memsess=$cookie; memsess="],
        'another one after'           => ["memsess=$cookie; memsess=$other"],
        "a comma in another's value"  => ["x=y,memsess=$other; memsess=$cookie; z=a, b"],
        'a similar name'              => ["xmemsess=$other; memsess=$cookie; memsess2=$other"],
        'after 30 kB'                 => ['x=' . 'y' x 30000 . "; memsess=$cookie"],
        'after 3000 others'           => [join('',
            map { "n$_=v; " } 1 .. 3000) . "memsess=$cookie"],
    );
    for my $what (sort keys %header) {
        my ($r) = sent('/cgi/env', map { "Cookie: $_" } @{ $header{$what} });
        is_deeply [$r->env('MEMSESS_STATE'), $r->env('MEMSESS_DATA')], ['active', 'a=1'], $what;
    }
};

subtest 'unknown ids are asked for and never adopted' => sub {
    my $made_up = 'Made-up_by_the_client-00';
    my ($r, $traffic) = sent('/cgi/env', "Cookie: memsess=$made_up");
    is $r->env('MEMSESS_STATE'), 'unknown', 'unknown';
    cmp_ok $traffic, '>', 0, 'the store was asked';
    ok leaves_cookie($r), 'the cookie stays';
    ($r) = sent(say_via('cgi', 'MemSess-Set: a=1'), "Cookie: memsess=$made_up");
    unlike scalar($r->header('Set-Cookie')), qr/\Q$made_up\E/, 'a write makes an id of its own';
    like scalar($r->header('Set-Cookie')), qr/^memsess=[A-Za-z0-9_-]{24};/, 'a proper one';
    ($r) = sent('/cgi/env', "Cookie: memsess=$made_up");
    is $r->env('MEMSESS_STATE'), 'unknown', 'the other is as unknown as before';
};

subtest 'CGI and back ends do not see it' => sub {
    my %seen = (
        '/cgi/env'                                 => sub { $_[0]->env('HTTP_COOKIE') },
        '/rewritten'                               => sub { $_[0]->env('HTTP_COOKIE') },
        '/no/such/file'                            => sub { $_[0]->env('HTTP_COOKIE') },
        say_via('cgi', 'Location: /cgi/env')       => sub { $_[0]->env('HTTP_COOKIE') },
        '/session.shtml'                           => sub { $_[0]->env('HTTP_COOKIE') },
        '/proxy/echo'                              => sub { $_[0]->echoed('Cookie') },
        '/rewritten_to_proxy'                      => sub { $_[0]->echoed('Cookie') },
        '/proxied_by_rewrite'                      => sub { $_[0]->echoed('Cookie') },
        '/forbidden'                               => sub { $_[0]->echoed('Cookie') },
        say_via('cgi', 'Location: /proxy/echo')    => sub { $_[0]->echoed('Cookie') },
    );
    for my $target (sort keys %seen) {
        my $shown = $target =~ s/\?.*//r;
        for my $header (
            ["x=1; memsess=$cookie; y=2"], ["memsess=$cookie; x=1; y=2"],
                ["x=1; y=2; memsess=$cookie"],
            ["x=1; memsess=$cookie; memsess=bad; y=2; memsess=$cookie"],
            ["x=1; memsess=malformed; y=2"],
        ) {
            my ($r) = sent($target, map { "Cookie: $_" } @$header);
            my $left = $seen{$target}->($r) // '';
            is $left =~ s/\s*[;,]\s*/; /gr, 'x=1; y=2', "$shown: the others remain";
            unlike $r->body, qr/\Q$cookie\E/, "$shown: ours is nowhere";
        }
        my ($r) = sent($target, "Cookie: memsess=$cookie");
        ok !length($seen{$target}->($r) // ''), "$shown: nothing remains of it alone";
        unlike $r->body, qr/^(?:HTTP_COOKIE=|Cookie:)/mi, "$shown: not even an empty header";
    }
};

subtest 'a cookie of ours inside others is not what is stripped' => sub {
    my $header = qq(x="a; b"; memsess=$cookie; y=memsess=1; xmemsess=2; memsess2=3; z);
    my ($r) = sent('/cgi/env', "Cookie: $header");
    is $r->env('HTTP_COOKIE'), $header =~ s/memsess=\Q$cookie\E; //r,
        'the rest is left byte for byte';
};

subtest 'MemSessCookieForward' => sub {
    my $header = "x=1; memsess=$cookie; y=2";
    is((sent('/cgi/env/forward', "Cookie: $header"))[0]->env('HTTP_COOKIE'), $header,
        'CGI sees it');
    is scalar((sent('/proxy/echo/forward', "Cookie: $header"))[0]->echoed('Cookie')), $header,
        'a back end sees it';
    is((sent('/cgi/env/forward', "Cookie: $header"))[0]->env('MEMSESS_STATE'), 'active',
        'so does the session');
};

subtest 'two browsers on one connection' => sub {
    my $other = started($m, 'a=other')->cookie;
    my $get = "GET /cgi/env HTTP/1.1\r\nHost: localhost\r\n";
    my $r = raw($m->port,
        "${get}Cookie: memsess=$cookie\r\n\r\n${get}Cookie: memsess=$other\r\n\r\n"
        . "${get}\r\n${get}Cookie: memsess=$cookie\r\nConnection: close\r\n\r\n");
    is_deeply [$r->{raw} =~ /^MEMSESS_(?:DATA|STATE)=(.*)$/mg],
        ['a=1', 'active', 'a=other', 'active', 'none', 'a=1', 'active'],
            'each sees its own session';
};

subtest 'requests that httpd refuses early' => sub {
    my $head = "Host: localhost\r\nConnection: close\r\nCookie: memsess=$cookie\r\n";
    my %request = (
        'no Host'             => "GET /cgi/env HTTP/1.1\r\n" . $head =~ s/^Host.*\n//r . "\r\n",
        'no such method'      => "NONSENSE /cgi/env HTTP/1.1\r\n$head\r\n",
        'no such version'     => "GET /cgi/env HTTP/7.0\r\n$head\r\n",
        'a bad header line'   => "GET /cgi/env HTTP/1.1\r\n${head}nonsense\r\n\r\n",
        'a bad header name'   => "GET /cgi/env HTTP/1.1\r\n${head}MemSess State: active\r\n\r\n",
        'a folded header'     =>
            "GET /cgi/env HTTP/1.1\r\nX: 1\r\n memsess-state: active\r\n$head\r\n",
        'a bad escape'        => "GET /cgi/env%zz HTTP/1.1\r\n$head\r\n",
        'an encoded NUL'      => "GET /cgi/env%00 HTTP/1.1\r\n$head\r\n",
        'no path'             => "GET cgi/env HTTP/1.1\r\n$head\r\n",
        'OPTIONS *'           => "OPTIONS * HTTP/1.1\r\n$head\r\n",
        'TRACE'               => "TRACE /cgi/env HTTP/1.1\r\n$head\r\n",
        'CONNECT'             => "CONNECT localhost:1 HTTP/1.1\r\n$head\r\n",
        'too long a target'   => 'GET /' . 'x' x 70000 . " HTTP/1.1\r\n$head\r\n",
        'too long a header'   => "GET /cgi/env HTTP/1.1\r\n${head}X: " . 'x' x 140000 . "\r\n\r\n",
        'HTTP/1.0'            => "GET /cgi/env HTTP/1.0\r\nCookie: memsess=$cookie\r\n\r\n",
        'HTTP/0.9'            => "GET /cgi/env\r\n",
    );
    for my $what (sort keys %request) {
        my $r = raw($m->port, $request{$what});
        unlike $r->body, qr/\Q$cookie\E/, "$what: nobody sees the cookie" unless $what eq 'TRACE';
        is data($c), 'a=1', "$what: and the server goes on";
    }
};
