# mod_session over the pool, as users of httpd configure it.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults qw(background);
use MemSess::Test;

plan tests => 21;

my $modules = MemSess::Site::query('LIBEXECDIR');
my $ours    = "$ENV{MEMSESS_T_ROOT}/../.libs/mod_session_memsess.so";
my $load    = join '',
    map { qq(LoadModule ${_}_module "$modules/mod_$_.so"\n) } qw(session session_crypto request);
my @pool    = map { MemSess::Memcached->start } 1, 2;
my $config  = $load . qq(LoadModule session_memsess_module "$ours"\n) . q(
MemSessRetry 300ms
Session On
SessionMemSessCookie sess Path=/ SameSite=Strict
SessionEnv On
SessionHeader X-Replace-Session
ScriptAliasMatch "^/(?:aged|lazy|crypto|other|off|small|same|anonymous|part)/cgi/(.*)" \
    "${T_ROOT}/cgi-bin/$1"
<Location "/aged/">
    SessionMaxAge 60
</Location>
<Location "/lazy/">
    SessionMaxAge 3600
    SessionExpiryUpdateInterval 600
</Location>
<Location "/crypto/">
    SessionCryptoPassphrase first-pass
    SessionMemSessCookie crypto
</Location>
<Location "/other/">
    SessionCryptoPassphrase another-pass
    SessionMemSessCookie crypto
</Location>
<Location "/off/">
    Session Off
</Location>
<Location "/small/">
    MemSessMaxSize 100
</Location>
<Location "/same/">
    SessionMemSessCookie memsess
</Location>
<Location "/anonymous/">
    MemSessOnError anonymous
</Location>
<Location "/part/">
    SessionInclude "/part/cgi/env"
    SessionInclude "/part/cgi/say"
    SessionExclude "/part/cgi/env/not"
</Location>
);
my ($m, $n) = map { MemSess::Member->start(servers => \@pool, config => $config) } 1, 2;

sub browser { client(shift // $m, name => 'sess', @_) }

# Has a handler replace entries, as with any storage of mod_session.
sub replace {
    my ($c, $form, $prefix, @more) = @_;
    return $c->get(($prefix // '') . say_via('cgi', "X-Replace-Session: $form", @more));
}

# The entries in the environment, without the expiry.
sub entries {
    my ($c, $prefix) = @_;
    my $session = $c->get(($prefix // '') . '/cgi/env')->env('HTTP_SESSION') // return 'no session';
    return join '&', sort grep { !/^expiry=/ } split /&/, $session;
}

sub configtest {
    my ($config) = @_;
    my ($code, $message) = MemSess::Member->check($config);
    return ($code ? '' : 'passed: ') . $message;
}

subtest 'loaded in the wrong order' => sub {
    my $above = qr/LoadModule session_module \S+ above LoadModule session_memsess_module/;
    like configtest(qq(LoadModule session_memsess_module "$ours"\n)),
        qr/needs mod_session, which is not loaded: write $above/,
        'without mod_session';
    like configtest(qq(LoadModule session_memsess_module "$ours"\n$load)),
        qr/needs mod_session, which is loaded after it: write/, 'before it';
    my $list = MemSess::Log->new(MemSess::Site::modules_file())->text(0);
    my ($memsess) = $list =~ /^(.*memsess_module.*\n)/m;
    $list =~ s/^.*memsess_module.*\n//m;
    for ('', $memsess) {
        my $file = $m->dir . '/order.conf';
        open my $out, '>', $file or die "$file: $!";
        print $out $list, $load, qq(LoadModule session_memsess_module "$ours"\n), $_,
            "ErrorLog $file.log\nServerName x\n";
        close $out or die $!;
        my $message = qx('@{[ MemSess::Site::httpd() ]}' -t -f '$file' 2>&1);
        isnt $?, 0, 'an error';
        my $how = $_ ? 'loaded after it' : 'not loaded';
        like $message, qr/needs mod_memsess, which is $how: write LoadModule memsess_module/,
            "mod_memsess is $how";
    }
};

subtest 'without MemSess On' => sub {
    my $file = $m->dir . '/alone.conf';
    open my $out, '>', $file or die "$file: $!";
    print $out MemSess::Log->new(MemSess::Site::modules_file())->text(0), $load,
        qq(LoadModule session_memsess_module "$ours"\nErrorLog $file.log\nServerName x\n),
        "<Location /form/>\nSessionMemSessCookie sess\n</Location>\n";
    close $out or die $!;
    like scalar qx('@{[ MemSess::Site::httpd() ]}' -t -f '$file' 2>&1),
        qr/there is no MemSessSecret.*Syntax OK/s, 'a missing secret is told of';
};

subtest 'SessionMemSessCookie' => sub {
    my $check = sub { configtest($load . qq(LoadModule session_memsess_module "$ours"\n)
        . "SessionMemSessCookie $_[0]\n") };
    like $check->('session Path=/ Max-Age=60'), qr/^passed: /, 'the grammar of MemSessCookie';
    like $check->('__Host-s'), qr/SessionMemSessCookie __Host-s: browsers drop/, 'and its checks';
    like $check->('s SameSite=Sometimes'),
        qr/SessionMemSessCookie s SameSite=Sometimes: .*must be SameSite=/, 'of each word';
    like $check->(''), qr/SessionMemSessCookie/, 'no name';
};

subtest 'a visitor without data costs nothing' => sub {
    for my $prefix ('', '/aged') {
        my $c = browser();
        my $r;
        is sum(map { $_->traffic(sub { $r = $c->get("$prefix/cgi/env") }) } @pool), 0,
            "$prefix: no traffic";
        is_deeply [$r->header('Set-Cookie')], [], "$prefix: no cookie";
    }
};

subtest 'SessionHeader and SessionEnv, on both members' => sub {
    my $c = browser();
    my $r = replace($c, 'a=1&b=two%20words');
    is_deeply [$r->header('X-Replace-Session')], [], 'the header is not for the client';
    is scalar(my @set = $r->header('Set-Cookie')), 1, 'one cookie';
    like $set[0], qr/^sess=[^;]+; Path=\/; HttpOnly; SameSite=Strict$/,
        'as SessionMemSessCookie says';
    is entries($c), 'a=1&b=two+words', 'is there';
    is entries($c->via($n)), 'a=1&b=two+words', 'and on the other member';
    my $cookie = $c->cookie;
    $r = replace($c, 'b=&c=3');
    is_deeply [$r->header('Set-Cookie')], [], 'a change sets no cookie';
    is entries($c->via($m)), 'a=1&c=3', 'and keeps the id';
    $r = $c->get('/cgi/env');
    is $r->env('HTTP_COOKIE'), undef, 'scripts do not see the cookie';
    is $r->env('MEMSESS_STATE'), 'none', 'sessions of MemSess On are others';
    like $r->header('Cache-Control'), qr/private/, 'not for shared caches';
    is growth(2, sub { $c->get('/cgi/env') }, ['cmd_get'], @pool), 2, 'read once';
    is $c->get('/plain.txt')->body, "plain\n", 'a file';
};

subtest 'copies' => sub {
    my @two  = map { MemSess::Memcached->start } 1, 2;
    my @both = map { MemSess::Member->start(servers => \@two, config => $config) } 1, 2;
    my $c    = browser($both[0]);
    replace($c, 'a=1');
    $two[0]->kill9;
    is entries($c->via($both[1])), 'a=1', 'a server dies, the session does not';
    is replace($c, 'b=2')->status, 200, 'and can be changed';
    is entries($c->via($both[0])), 'a=1&b=2', 'everywhere';
    $_->stop for @both, @two;
};

subtest 'no entry is left' => sub {
    for my $prefix ('', '/aged') {
        my $c = browser();
        replace($c, 'a=1', $prefix);
        my $old = $c->copy;
        my $r   = replace($c, 'a=', $prefix);
        is $c->cookie, undef, "$prefix: the cookie is cleared" or diag $r->{raw};
        is entries($old), '', "$prefix: and the session gone";
    }
};

subtest 'SessionMaxAge' => sub {
    my $c = browser();
    replace($c, 'a=1', '/aged');
    my $cookie = $c->cookie;
    for (1 .. 3) {
        let_pass(30);
        is entries($c, '/aged'), 'a=1', 'use prolongs it';
    }
    is $c->cookie, $cookie, 'without another id';
    my $idle = $c->copy;
    let_pass(61);
    is entries($idle->copy), '', 'unused it ends';
    is_deeply [grep { /^sess=/ } $idle->get('/cgi/env')->header('Set-Cookie')], [],
        'and the cookie stays';
    $c->set_cookie($cookie);
    replace($c, 'b=2', '/aged');
    is entries($c, '/aged'), 'b=2', 'what is set in the request that finds it expired is kept';
    isnt $c->cookie, $cookie, 'under another id';
};

subtest 'SessionMaxAge above the time-outs of MemSess' => sub {
    my $short = MemSess::Member->start(servers => \@pool,
        config => "$config\nMemSessIdleTimeout 1s\nMemSessAbsoluteTimeout 1s\n");
    my $c = browser($short);
    replace($c, 'a=1', '/lazy');
    my $other = browser($short);
    replace($other, 'a=1');
    let_pass(2);
    is entries($c, '/lazy'), 'a=1', 'lives as long as it says';
    is entries($other), '', 'without it, the time-outs count';
    $short->stop;
};

subtest 'SessionExpiryUpdateInterval' => sub {
    my $c = browser();
    replace($c, 'a=1', '/lazy');
    is sum(map { my $server = $_; $server->writes(sub { entries($c, '/lazy') }) } @pool), 0, 'no write';
    replace($c, 'a=1', '/aged');
    ok sum(map { $_->during(sub { entries($c, '/aged') }, 'cmd_set') } @pool) > 0,
        'without it, one for each request';
};

subtest 'a request that only reads undoes nothing' => sub {
    my $c = browser();
    replace($c, 'a=1', '/aged');
    my $until = $m->dir . '/until';
    my $slow  = background(client($m), '/aged' . say_via('cgi') =~ s/say/late/r, "X-Until: $until",
        'Cookie: sess=' . $c->cookie);
    wait_for(20, sub { -e "$until.begun" });
    replace($c, 'b=2', '/aged');
    open my $go, '>', $until or die "$until: $!";
    is $slow->wait->status, 200, 'a slow one';
    is entries($c, '/aged'), 'a=1&b=2', 'what another has set meanwhile stays';
};

subtest 'SessionInclude, SessionExclude, Session Off' => sub {
    my $c = browser();
    replace($c, 'a=1', '/part');
    is entries($c, '/part'), 'a=1', 'included';
    is $c->get('/part/cgi/env/not')->env('HTTP_SESSION'), undef, 'excluded';
    is $c->get('/off/cgi/env')->env('HTTP_SESSION'), undef, 'off';
    is sum(map { my $server = $_; $server->traffic(sub { $c->get('/off/cgi/env') }) } @pool), 0, 'and not read';
};

subtest 'mod_session_crypto' => sub {
    my $c = client($m, name => 'crypto');
    replace($c, 'secretword=1', '/crypto');
    is entries($c->via($n), '/crypto'), 'secretword=1', 'on both members';
    my $seen = join '', map { my $s = $_; map { $s->get($_) // '' } $s->keys } @pool;
    unlike $seen, qr/secretword/, 'encrypted in memcached';
    my $old = $c->copy;
    is entries($c, '/other'), '', 'another passphrase: an empty session';
    is entries($old->copy, '/crypto'), 'secretword=1', 'nothing is lost by that';
    replace($c, 'b=2', '/other');
    is entries($c, '/other'), 'b=2', 'what is set is kept';
    isnt $c->cookie, $old->cookie, 'in another session';
};

subtest 'no session of one kind is one of the other' => sub {
    my $theirs = browser();
    replace($theirs, 'a=1');
    my $own = started($m, 'a=1');
    is state(client($m)->set_cookie($theirs->cookie)), 'unknown', 'theirs for ours';
    is entries(browser()->set_cookie($own->cookie)), '', 'ours for theirs';
    my $mark = $m->log->mark;
    my $r    = $own->get('/same/cgi/env');
    is_deeply [$r->status, $r->env('HTTP_SESSION'), $r->env('MEMSESS_STATE')],
        [200, undef, 'active'], 'one name for both';
    ok $m->log->wait_for(qr/MemSessCookie has the name that SessionMemSessCookie gives/, $mark),
        'is told';
    $r = replace($own, 'x=1', '/same');
    is state($own), 'active', 'and spoils nothing';
    is data($own), 'a=1', 'at all';
    $theirs->get(say_via('cgi', 'MemSess-Set: data=x', 'MemSess-Destroy: 1'));
    is entries($theirs), 'a=1', 'headers are for ours alone';
};

subtest 'who is logged in' => sub {
    my $c = browser();
    replace($c, 'cart=3');
    my $guest = $c->copy;
    replace($c, 'Realm-user=ann');
    isnt $c->cookie, $guest->cookie, 'a new id for a new user';
    is entries($c), 'Realm-user=ann&cart=3', 'with the same data';
    is entries($guest), '', 'not for who knew the old one';
    my $ann = $c->copy;
    replace($c, 'cart=4');
    is $c->cookie, $ann->cookie, 'the same user keeps it';
};

subtest 'redirects and errors' => sub {
    my $c = browser();
    is replace($c, 'a=1', '', 'Status: 404 Not Found')->status, 404, 'an error';
    is entries($c), 'a=1', 'saves too';
    is $c->get(say_via('cgi', 'Location: /cgi/env'))->env('HTTP_SESSION'), 'a=1',
        'an internal redirect';
    is $c->get(say_via('cgi', 'Location: /cgi/env'))->env('HTTP_COOKIE'), undef,
        'gives the cookie to nobody';
};

subtest 'limits' => sub {
    my $c = browser();
    replace($c, 'a=1');
    my $mark = $m->log->mark;
    replace($c, 'a=' . 'x' x 200, '/small');
    ok $m->log->wait_for(qr/not saved, and stays as it was: the session would be larger than MemSessMaxSize/, $mark),
        'too large';
    is entries($c), 'a=1', 'stays as it was';
};

subtest 'parallel sessions of both kinds' => sub {
    my $c = browser();
    my $r = $c->get(say_via('cgi', 'X-Replace-Session: a=1', 'MemSess-Set: b=2'));
    my %set = map { /^(\w+)=([^;]*)/ } $r->header('Set-Cookie');
    is_deeply [sort keys %set], ['memsess', 'sess'], 'each has its cookie';
    $r = client($m)->get('/cgi/env', "Cookie: sess=$set{sess}; memsess=$set{memsess}");
    is_deeply [$r->env('HTTP_SESSION'), $r->env('MEMSESS_DATA')], ['a=1', 'b=2'], 'and its data';
};

subtest 'MemSessSecret: signed and sealed' => sub {
    my $secret = $m->dir . '/secret';
    open my $out, '>', $secret or die "$secret: $!";
    print $out '0123456789abcdef' x 4, "\n";
    close $out or die $!;
    chmod 0600, $secret;
    my @own    = map { MemSess::Memcached->start } 1, 2;
    my $sealed = MemSess::Member->start(servers => \@own,
        config => "$config\nMemSessSecret file:$secret\n");
    my $c = browser($sealed);
    replace($c, 'secretword=1');
    is entries($c), 'secretword=1', 'a session';
    my @stored = map { my $s = $_; map { $s->get($_) // () } $s->keys } @own;
    ok scalar @stored, 'is stored';
    is_deeply [grep { /secretword/ } @stored], [], 'where nobody can read it';
    my $own = started($sealed);
    is sum(map { $_->traffic(sub { is entries(browser($sealed)->set_cookie($own->cookie)), '',
        'of the other kind' }) } @own), 0,
        'a cookie of the other kind costs nothing';
    $_->stop for $sealed, @own;
};

subtest 'restarts' => sub {
    my $c = browser();
    replace($c, 'a=1');
    for my $how (qw(graceful restart)) {
        $m->$how;
        is entries($c), 'a=1', $how;
    }
    replace($c, 'b=2');
    is entries($c), 'a=1&b=2', 'and on';
};

subtest 'a store that cannot tell' => sub {
    my $c = browser();
    replace($c, 'a=1');
    my $cookie = $c->cookie;
    $_->pause for @pool;
    my $r = $c->get('/cgi/env');
    is $r->status, 503, 'Service Unavailable';
    ok $r->header('Retry-After'), 'with Retry-After';
    is entries($c, '/anonymous'), '', 'MemSessOnError anonymous: an empty session';
    is $c->cookie, $cookie, 'the cookie stays';
    $_->resume for @pool;
    ok wait_for(20, sub { entries($c) eq 'a=1' }), 'and so does the session';
};
