# The session says who the user is: who is let in, who is sent to log in, and which answer each one
# gets.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 13;

my $memcached = MemSess::Memcached->start;
my $protected = q(
    MemSessTimeout 600ms
    MemSessRetry 300ms
    LogFormat "%U user=%u" user
    CustomLog "${T_DIR}/user_log" user
    <LocationMatch "/members">
        AuthType MemSess
        MemSessLoginURL /cgi/say/login?back=%s&why=needed
        Require valid-user
    </LocationMatch>
    <LocationMatch "/members/bob">
        Require user bob
    </LocationMatch>
    <LocationMatch "/plain">
        MemSessLoginURL none
    </LocationMatch>
    <LocationMatch "/realm">
        AuthName "the club"
    </LocationMatch>
    <LocationMatch "/silent">
        MemSessExpose none
    </LocationMatch>
    <LocationMatch "/named">
        MemSessUserAttr login.name
    </LocationMatch>
    <LocationMatch "/anonymous">
        MemSessOnError anonymous
    </LocationMatch>
    <LocationMatch "/optional">
        AuthType MemSess
        Require all granted
    </LocationMatch>
    <LocationMatch "/own">
        AuthType MemSess
        MemSessLoginURL /cgi/env/own/login
        Require valid-user
    </LocationMatch>
    <LocationMatch "/role">
        AuthType None
        Require memsess role admin "site admin" %{req:X-Role}
    </LocationMatch>
    <LocationMatch "/role/members">
        AuthType MemSess
    </LocationMatch>
    <LocationMatch "/all">
        <RequireAll>
            Require valid-user
            Require memsess role admin
        </RequireAll>
    </LocationMatch>
    <LocationMatch "/any">
        <RequireAny>
            Require user bob
            Require memsess role admin
        </RequireAny>
    </LocationMatch>
    <LocationMatch "/sober">
        AuthType None
        <RequireAll>
            Require all granted
            Require not memsess state drunk
        </RequireAll>
    </LocationMatch>
    <LocationMatch "/nobody">
        AuthType None
        <RequireAll>
            Require all granted
            <RequireNone>
                Require memsess state drunk
            </RequireNone>
        </RequireAll>
    </LocationMatch>
    <LocationMatch "/local">
        <RequireAny>
            Require local
            Require valid-user
        </RequireAny>
    </LocationMatch>
    <LocationMatch "/off">
        MemSess Off
    </LocationMatch>
    CacheRoot "${T_DIR}/cache"
    CacheEnable disk /members
    CacheIgnoreHeaders Set-Cookie
    RequestHeader set X-User "expr=%{REMOTE_USER}" "expr=%{REMOTE_USER} != ''"
    RewriteEngine On
    RewriteRule ^/rewritten$ /cgi/env/members/behind [PT]
);
my $m = MemSess::Member->start(servers => [$memcached], config => $protected);
my @html = ('Accept: text/html,application/xhtml+xml,*/*;q=0.8');

my $nobody = client($m);
my $ann    = started($m, 'user=ann&login.name=annie');
my $admin  = started($m, 'user=adam&role=admin');

# Where a client is sent, and which address it should come back to.
sub sent_to {
    my ($r, $what) = @_;
    is $r->status, 302, "$what: redirected" or diag $r->{raw};
    my ($location) = $r->header('Location');
    my ($back) = ($location // '') =~ m{^/cgi/say/login\?back=([^&]*)&why=needed$}
        or diag 'Location: ' . ($location // 'none');
    return undef unless defined $back;
    unlike $back, qr{[^A-Za-z0-9_.*%+-]}, "$what: escaped";
    $back =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge;
    return $back;
}

subtest 'who is logged in' => sub {
    is $ann->get("$_/members/x", @html)->status, 200, "$_: let in" for qw(/cgi/env /proxy/echo);
    is $ann->get('/cgi/env/members')->env('REMOTE_USER'), 'ann', 'CGI has REMOTE_USER';
    is $ann->get('/cgi/env/members')->env('AUTH_TYPE'), 'MemSess', 'and AUTH_TYPE';
    is scalar($ann->get('/proxy/echo/members')->echoed('X-User')), 'ann', 'a back end';
    is $ann->get('/cgi/env/members/named')->env('REMOTE_USER'), 'annie', 'MemSessUserAttr';
    is $ann->get('/rewritten')->env('REMOTE_USER'), 'ann', 'behind mod_rewrite';
    my $log = MemSess::Log->new($m->dir . '/user_log');
    my $mark = $log->mark;
    $ann->get('/cgi/env/members');
    ok $log->wait_for(qr{^/cgi/env/members user=ann$}m, $mark), 'the access log';
    is $ann->get('/cgi/env/optional')->env('REMOTE_USER'), 'ann', 'where nobody needs to be';
    is $nobody->get('/cgi/env/optional')->env('REMOTE_USER'), undef, 'nobody is nobody there';
    is $nobody->get('/cgi/env/optional')->status, 200, 'and let in';
};

subtest 'who is not' => sub {
    is sent_to($nobody->get('/cgi/env/members?a=b&c=%20d', @html), 'a navigation'),
        '/cgi/env/members?a=b&c=%20d', 'and back';
    is sent_to($nobody->send('HEAD', '/cgi/env/members', \@html), 'HEAD'), '/cgi/env/members',
        'and back';
    is sent_to($nobody->get('/rewritten?x', @html), 'rewritten'), '/rewritten?x',
        'back to what was asked for';
    my %not = (
        'no Accept'    => ['GET'],
        'anything'     => ['GET', 'Accept: */*'],
        'JSON'         => ['GET', 'Accept: application/json'],
        'HTML refused' => ['GET', 'Accept: text/html;q=0, */*'],
        'POST'         => ['POST', @html],
        'PUT'          => ['PUT', @html],
        'DELETE'       => ['DELETE', @html],
    );
    for my $what (sort keys %not) {
        my ($method, @headers) = @{ $not{$what} };
        my $r = $nobody->send($method, '/cgi/env/members', \@headers,
            $method =~ /^P/ ? 'x=y' : undef);
        is $r->status, 401, "$what: 401";
        is scalar($r->header('Location')), '', "$what: no Location";
        is scalar($r->header('WWW-Authenticate')), 'MemSess',
            "$what: a challenge that opens no window";
        like scalar($r->header('Vary')), qr/Cookie/, "$what: Vary: Cookie";
        like scalar($r->header('Vary')), qr/Accept/, "$what: Vary: Accept";
        like scalar($r->header('Cache-Control')), qr/no-store/, "$what: no-store";
    }
    is $nobody->get('/cgi/env/members/plain', @html)->status, 401, 'MemSessLoginURL none';
    is scalar($nobody->get('/cgi/env/members/realm')->header('WWW-Authenticate')),
        'MemSess realm="the club"', 'AuthName';
    my $r = $nobody->get('/cgi/env/members', @html);
    like scalar($r->header('Vary')), qr/Cookie/, 'the redirect: Vary';
    like scalar($r->header('Cache-Control')), qr/no-store/, 'the redirect: no-store';
};

subtest 'a session without a user is nobody' => sub {
    for my $form ('cart=1', 'user=', 'user=a%0Ab', 'user=a%0D%0AX: y', 'user=%1b', 'User=ann') {
        my $c = started($m, $form);
        is sent_to($c->get('/cgi/env/members', @html), $form), '/cgi/env/members',
            "$form: not let in";
        is $c->get('/cgi/env/optional')->env('REMOTE_USER'), undef, "$form: no REMOTE_USER";
    }
    for my $cookie ('A' x 24, 'nonsense') {
        my $r = client($m)->set_cookie($cookie)->get('/cgi/env/members', @html);
        sent_to($r, $cookie);
        ok leaves_cookie($r), "$cookie: stays";
    }
};

subtest 'the way back is a path on this site' => sub {
    my %back = (
        '//evil.example/members'            => '/evil.example/members',
        '/%2e//evil.example/members'        => undef,
        'http://localhost/cgi/env/members?x' => '/cgi/env/members?x',
        'http://localhost//evil/members'    => '/evil/members',
        '/cgi/env/members?//evil'           => '/cgi/env/members?//evil',
        '/cgi/env/members?a=%0d%0aSet-Cookie:%20x=y' => undef,
        '/proxy/echo/members' . 'x' x 9000  => '/',
        '/cgi/env/members?' . 'x' x 9000    => '/cgi/env/members',
    );
    for my $asked (sort keys %back) {
        my $shown = substr $asked, 0, 40;
        my $r = $nobody->get($asked, @html);
        my $back = sent_to($r, $shown);
        is $back, $back{$asked}, "$shown: back" if $back{$asked};
        like $back, qr{^/(?![/\\])[^\x00-\x20]*$}, "$shown: a path";
        is scalar($r->header('Set-Cookie')), '', "$shown: no header of its own";
        cmp_ok length(($r->header('Location'))[0]), '<', 5000, "$shown: fits";
    }
    my $r = $nobody->get('/\\evil.example/members', @html);
    isnt $r->status, 200, 'a backslash' or diag $r->{raw};
    unlike $r->{raw}, qr{Location: .*back=%2f%5c}i, 'is not taken along';
};

subtest 'the login page is protected itself' => sub {
    my $mark = $m->log->mark;
    is scalar($nobody->get('/cgi/env/own/page', @html)->header('Location')), '/cgi/env/own/login',
        'sent there';
    is $nobody->get('/cgi/env/own/login', @html)->status, 401, 'no loop';
    like $m->log->text($mark), qr/MemSessLoginURL.*needs a log-in itself/, 'the log says why';
};

subtest 'somebody else' => sub {
    is $ann->get('/cgi/env/members/bob', @html)->status, 403,
        'who is logged in is forbidden, not sent to log in';
    is started($m, 'user=bob')->get('/cgi/env/members/bob')->status, 200, 'who may is let in';
    is sent_to($nobody->get('/cgi/env/members/bob', @html), 'nobody'), '/cgi/env/members/bob',
        'may log in';
};

subtest 'Require memsess' => sub {
    is $admin->get('/cgi/env/role')->status, 200, 'the first value';
    is started($m, 'role=site%20admin')->get('/cgi/env/role')->status, 200, 'the second';
    is started($m, 'role=site')->get('/cgi/env/role')->status, 403, 'half of it';
    is $ann->get('/cgi/env/role', @html)->status, 403, 'none: forbidden where there is no AuthType';
    is $nobody->get('/cgi/env/role', @html)->status, 403, 'no session either';
    is started($m, 'role=guest')->get('/cgi/env/role', 'X-Role: guest')->status, 200,
        'an expression';
    is started($m, 'role=guest')->get('/cgi/env/role', 'X-Role: other guest')->status, 403,
        'is one value';
    is started($m, 'role=')->get('/cgi/env/role')->status, 403, 'and an empty one is none';
    is $admin->get('/cgi/env/role/members')->status, 200, 'with AuthType MemSess';
    is $admin->get('/cgi/env/role/members')->env('REMOTE_USER'), 'adam', 'and REMOTE_USER';
    is $ann->get('/cgi/env/role/members')->status, 403, 'logged in, but not that';
    is $nobody->get('/cgi/env/role/members')->status, 401, 'may log in';
    like scalar($admin->get('/cgi/env/role')->header('Vary')), qr/Cookie/, 'Vary: Cookie';
    like scalar($admin->get('/cgi/env/role/silent')->header('Vary')), qr/Cookie/,
        'with nothing exposed, too';
    like scalar($admin->get('/cgi/env/role/silent')->header('Cache-Control')), qr/private/,
        'and private';
    is $admin->get('/cgi/env/role/off')->status, 403, 'MemSess Off';
};

subtest 'combined' => sub {
    is $admin->get('/cgi/env/members/all')->status, 200, 'all: both';
    is $ann->get('/cgi/env/members/all')->status, 403, 'all: one';
    is $nobody->get('/cgi/env/members/all')->status, 401, 'all: none';
    is $admin->get('/cgi/env/members/any')->status, 200, 'any: the second';
    is started($m, 'user=bob')->get('/cgi/env/members/any')->status, 200, 'any: the first';
    is $ann->get('/cgi/env/members/any')->status, 403, 'any: none';
    is $nobody->get('/cgi/env/members/any')->status, 401, 'any: nobody';
    is $nobody->get('/cgi/env/members/local')->status, 200, 'another provider';
    my $drunk = started($m, 'state=drunk');
    for my $not (qw(sober nobody)) {
        is $drunk->get("/cgi/env/$not")->status, 403, "$not: not";
        is $ann->get("/cgi/env/$not")->status, 200, "$not: ann";
        is $nobody->get("/cgi/env/$not")->status, 200, "$not: no session";
    }
};

subtest 'nothing is exposed' => sub {
    my $r = $ann->get('/cgi/env/members/silent');
    is $r->env('REMOTE_USER'), 'ann', 'the user is known';
    is $r->env('MEMSESS_STATE'), undef, 'and nothing else';
    is $nobody->get('/cgi/env/members/silent')->status, 401, 'nobody';
    like scalar($r->header('Vary')), qr/Cookie/, 'Vary: Cookie';
    like scalar($r->header('Cache-Control')), qr/private/, 'private';
};

subtest 'caches' => sub {
    is $ann->get('/cgi/env/members/cached')->status, 200, 'let in';
    is $nobody->get('/cgi/env/members/cached')->status, 401,
        'nobody does not get that from a cache';
    is $nobody->get('/cgi/env/members/other')->status, 401, 'not let in';
    is $ann->get('/cgi/env/members/other')->status, 200, 'nor does she get the refusal';
};

subtest 'no session for AuthType MemSess' => sub {
    my $mark = $m->log->mark;
    is $ann->get('/cgi/env/members/off', @html)->status, 500, 'MemSess Off';
    like $m->log->text($mark), qr/AuthType MemSess.*MemSess is Off/, 'the log says why';
};

subtest 'an outage sends nobody to log in' => sub {
    my $c = $ann->copy;
    $memcached->kill9;
    for my $path (qw(members members/anonymous members/silent members/silent/anonymous role
                     role/silent role/anonymous role/members/anonymous members/all/anonymous)) {
        for my $headers ([], \@html) {
            my $r = $c->get("/cgi/env/$path", @$headers);
            is $r->status, 503, "$path: 503" or diag $r->{raw};
            like scalar($r->header('Retry-After')), qr/^[1-9]\d*$/, "$path: Retry-After";
            is scalar($r->header('Set-Cookie')), '', "$path: the cookie stays";
        }
    }
    for my $path (qw(sober/anonymous nobody/anonymous sober/silent nobody/silent)) {
        cmp_ok $c->get("/cgi/env/$path")->status, '>=', 500, "$path: a negation does not let in";
    }
    is sent_to($nobody->get('/cgi/env/members', @html), 'without a cookie'), '/cgi/env/members',
        'no store is asked';
    is $c->get('/cgi/env/optional/anonymous')->status, 200, 'where nobody needs a user';
    $memcached->restart;
    ok wait_for(20, sub { $c->copy->get('/cgi/env/members', @html)->status == 302 }),
        'who is certainly lost is';
};

subtest 'refused configurations' => sub {
    my @refused = (
        ['MemSessUserAttr a/b', 'a/b', qr/A-Za-z0-9/],
        ['MemSessUserAttr ""', '', qr/attribute/],
        ['MemSessLoginURL http://login.example/', 'http://login.example/', qr/path on this site/],
        ['MemSessLoginURL //login.example/', '//login.example/', qr/path on this site/],
        ['MemSessLoginURL /\\evil', 'evil', qr/path on this site/],
        ['MemSessLoginURL login', 'login', qr/path on this site/],
        ['MemSessLoginURL /login?%d', '/login?%d', qr/two hex digits/],
        ['MemSessLoginURL "/log in"', '/log in', qr/hex digits/],
        ["<Location /a>\nRequire memsess\n</Location>", '', qr/name/],
        ["<Location /a>\nRequire memsess role\n</Location>", '', qr/values/],
        ["<Location /a>\nRequire memsess ro/le x\n</Location>", 'ro/le', qr/A-Za-z0-9/],
        ["<Location /a>\nRequire memsess role \"\"\n</Location>", '', qr/empty/],
        ["<Location /a>\nRequire memsess role %{nonsense\n</Location>", '%{nonsense',
         qr/Require memsess/],
        ["<Location /a>\nAuthType MemSess\nMemSess Off\nRequire valid-user\n</Location>",
         'AuthType MemSess', qr/MemSess On/],
    );
    for my $case (@refused) {
        my ($config, $value, $fix) = @$case;
        my ($status, $message) = MemSess::Member->check($config);
        my $shown = substr $config =~ s/\n/ | /gr, 0, 60;
        isnt $status, 0, "refused: $shown";
        ok index($message, $value) >= 0, "$shown: names the value" or diag $message;
        like $message, $fix, "$shown: says how to fix it";
    }
    for my $good ('MemSessLoginURL none', 'MemSessLoginURL /login',
        'MemSessLoginURL /a/?b=%s&c=%41#d', 'MemSessUserAttr a.b-c_9') {
        my ($status, $message) = MemSess::Member->check("$good\n<Location /a>\n$good\n</Location>");
        is $status, 0, "accepted: $good" or diag $message;
    }
};
