# mod_auth_form over mod_session over the pool: a log-in on one member counts on the other.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Test;

plan tests => 6;

my $modules = MemSess::Site::query('LIBEXECDIR');
my @pool    = map { MemSess::Memcached->start } 1, 2;

# Two members, configured as in httpd's manual.
my $config = join('',
    map { qq(LoadModule ${_}_module "$modules/mod_$_.so"\n) } qw(session request auth_form
        session_crypto))
    . qq(LoadModule session_memsess_module "$ENV{MEMSESS_T_ROOT}/../.libs/mod_session_memsess.so"\n)
    . q(
MemSessRetry 300ms
ScriptAlias /private/cgi/ "${T_ROOT}/cgi-bin/"
ScriptAlias /site/cgi/ "${T_ROOT}/cgi-bin/"
SessionMemSessCookie login Path=/
<LocationMatch "^/(?:private|dologin|logout|open|site)">
    Session On
    SessionMaxAge 60
    SessionEnv On
    SessionHeader X-Replace-Session
</LocationMatch>
ScriptAlias /open/ "${T_ROOT}/cgi-bin/"
<Location "/private/">
    AuthType form
    AuthName "Private Area"
    AuthFormProvider file
    AuthUserFile "${T_DIR}/users"
    AuthFormLoginRequiredLocation "http://localhost/login"
    Require valid-user
</Location>
<Location "/site/">
    AuthType form
    AuthName "Private Area"
    AuthFormProvider file
    AuthUserFile "${T_DIR}/users"
    AuthFormSitePassphrase "some secret of the site"
    SessionCryptoPassphrase "another secret"
    SessionMemSessCookie site
    ErrorDocument 401 "log in, please"
    Require valid-user
</Location>
<Location "/dologin">
    SetHandler form-login-handler
    AuthType form
    AuthName "Private Area"
    AuthFormProvider file
    AuthUserFile "${T_DIR}/users"
    AuthFormLoginRequiredLocation "http://localhost/login?again"
    AuthFormLoginSuccessLocation "http://localhost/private/cgi/env"
</Location>
<Location "/logout">
    SetHandler form-logout-handler
    AuthName "Private Area"
    AuthFormLogoutLocation "http://localhost/bye"
</Location>
);
my ($m, $n) = map { MemSess::Member->start(servers => \@pool, config => $config) } 1, 2;
for my $member ($m, $n) {
    open my $users, '>', $member->dir . '/users' or die $!;
    print $users "ann:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\n";    # test
}

my @form = ('Content-Type: application/x-www-form-urlencoded');

sub browser { client(shift // $m, name => 'login', @_) }
sub login   { $_[0]->post($_[1] // '/dologin',
    'httpd_username=ann&httpd_password=' . ($_[2] // 'test'), @form) }
sub user    { $_[0]->get('/private/cgi/env')->env('REMOTE_USER') // 'nobody' }

subtest 'log-in and log-out' => sub {
    my $c = browser();
    my $r = $c->get('/private/cgi/env');
    is_deeply [$r->status, $r->header('Location')], [302, 'http://localhost/login'],
        'away to the login page';
    is $c->cookie, undef, 'without a session';
    $r = login($c, '/dologin', 'wrong');
    is_deeply [$r->status, $r->header('Location')], [302, 'http://localhost/login?again'],
        'a wrong password';
    is $c->cookie, undef, 'begins none';
    $r = login($c);
    is_deeply [$r->status, $r->header('Location')], [302, 'http://localhost/private/cgi/env'],
        'the right one';
    is scalar(my @set = $r->header('Set-Cookie')), 1, 'sets one cookie';
    for my $member ($n, $m, $n) {
        my $cookie = $c->cookie;
        is user($c->via($member)), 'ann', 'is known on both members';
        is $c->cookie, $cookie, 'by the same cookie';
    }
    my $old = $c->copy;
    $r = $c->via($m)->get('/logout');
    is_deeply [$r->status, $r->header('Location')], [307, 'http://localhost/bye'], 'log-out';
    is $c->cookie, undef, 'clears the cookie';
    is user($old->copy->via($n)), 'nobody', 'counts on the other member';
    is user($old->copy), 'nobody', 'and here, for whoever has the old cookie';
    is growth(2, sub { user($old->copy) }, ['cmd_get'], @pool), 2, 'who is looked up once';
};

subtest 'a guest who logs in' => sub {
    my $c = browser();
    $c->get('/open/say?' . escape("X-Replace-Session: cart=3\nContent-Type: text/plain\n\nok"));
    my $guest = $c->copy;
    login($c);
    isnt $c->cookie, $guest->cookie, 'gets another id';
    is user($c->via($n)), 'ann', 'is known by it';
    like $c->get('/open/env')->env('HTTP_SESSION'), qr/(?:^|&)cart=3/, 'and keeps the cart';
    is user($guest->copy), 'nobody', 'who knew the old id is not logged in';
    my $r = $c->get('/logout');
    like $c->get('/open/env')->env('HTTP_SESSION'), qr/^cart=3&expiry=\d+$/,
        'log-out leaves the cart alone';
    is user($c), 'nobody', 'without the user';
};

subtest 'inline, with a site passphrase and mod_session_crypto' => sub {
    my $c = browser($m, name => 'site');
    my %before = map { $_ => 1 } map { $_->keys } @pool;
    my $r = $c->get('/site/cgi/env');
    is_deeply [$r->status, $r->body], [401, 'log in, please'], 'the page itself asks';
    is login($c, '/site/cgi/env', 'wrong')->status, 401, 'a wrong password';
    $r = login($c, '/site/cgi/env');
    is_deeply [$r->status, $r->env('REMOTE_USER')], [200, 'ann'], 'the right one';
    is $c->via($n)->get('/site/cgi/env')->env('REMOTE_USER'), 'ann', 'on the other member';
    my @stored = map { my $s = $_; map { $s->get($_) // () } grep { !$before{$_} } $s->keys } @pool;
    ok scalar @stored, 'stored';
    is_deeply [grep { /ann|Private/ } @stored], [], 'encrypted';
    is $c->get('/private/cgi/env')->status, 302, 'another cookie, another session';
};

subtest 'expiry' => sub {
    my $c = browser();
    login($c);
    for (1 .. 3) {
        let_pass(30);
        is user($c->via($_ % 2 ? $m : $n)), 'ann', 'use prolongs it';
    }
    my $old = $c->copy;
    let_pass(61);
    is user($old->copy), 'nobody', 'unused it ends';
    my $r = login($old);
    is user($old->via($n)), 'ann', 'a log-in in the request that finds it expired counts';
};

subtest 'a server dies' => sub {
    my $c = browser();
    login($c);
    $pool[0]->kill9;
    is user($c->via($_)), 'ann', 'still logged in' for $m, $n, $m;
    $pool[0]->restart;
    back_again(sub { user($c) eq 'ann' });
};

subtest 'a store that cannot tell' => sub {
    my $c = browser();
    login($c);
    my $cookie = $c->cookie;
    $_->pause for @pool;
    my $r = $c->get('/private/cgi/env');
    is $r->status, 503, 'is no log-out';
    is $r->header('Location'), '', 'nor a way to the login page';
    is $c->cookie, $cookie, 'the cookie stays';
    is login(browser())->status, 503, 'nobody logs in meanwhile';
    $_->resume for @pool;
    ok wait_for(20, sub { login($c)->status == 302 }), 'until it is back';
    ok wait_for(20, sub { user($c->via($n)) eq 'ann' }), 'on both members';
};
