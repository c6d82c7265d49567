# The session cookies of a virtual host are removed from what back ends and programs see, even in
# sections that have nothing to do with them; and before any of httpd's own modules asks a back end.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::FastCGI;
use MemSess::HTTP qw(request);
use MemSess::Site;
use MemSess::Test;

plan tests => 10;

my $memcached = MemSess::Memcached->start;
my $fcgi      = MemSess::FastCGI->start;
my $modules   = MemSess::Site::query('LIBEXECDIR');
my $ours      = "$ENV{MEMSESS_T_ROOT}/../.libs/mod_session_memsess.so";
my $config = join('', map { qq(LoadModule ${_}_module "$modules/mod_$_.so"\n) }
    qw(session request proxy_fcgi authnz_fcgi)) . qq(
    LoadModule session_memsess_module "$ours"
    AuthnzFcgiDefineProvider authn outside fcgi://127.0.0.1:@{[ $fcgi->port ]}/
    ProxyPass /fcgi/ fcgi://127.0.0.1:@{[ $fcgi->port ]}/
) . q(
    MemSess Off
    <Location /app>
        MemSess On
    </Location>
    ScriptAlias /app/ "${T_ROOT}/cgi-bin/"
    <Location /shop>
        MemSess On
        MemSessCookie shop
    </Location>
    <Location /form>
        Session On
        SessionMemSessCookie form
    </Location>
    <LocationMatch ^/proxy/.*distrusted>
        Header edit Set-Cookie "^memsess=.*" ""
    </LocationMatch>
    <LocationMatch /forward>
        MemSessCookieForward On
    </LocationMatch>
    <LocationMatch "/(?:outside|app)/.*guarded|/app/env/guarded">
        AuthType Basic
        AuthName outside
        AuthBasicProvider outside
        Require valid-user
    </LocationMatch>
    Alias /outside/ "${T_ROOT}/htdocs/"
    ErrorDocument 404 /cgi/env
    Action see /cgi/env virtual
    <Location /seen>
        SetHandler see
    </Location>
    <Location /lua>
        MemSess On
    </Location>

    Listen 127.0.0.1:${T_TLS_PORT}
    <VirtualHost *:${T_TLS_PORT}>
        ScriptAlias /cgi/ "${T_ROOT}/cgi-bin/"
        ProxyPass /proxy/ "http://127.0.0.1:${T_BACKEND}/"
        <Location /only>
            MemSess On
            MemSessCookie only
        </Location>
    </VirtualHost>
);
my $m = MemSess::Member->start(servers => [$memcached], config => $config);
my $c = client($m);
$c->get('/app/say?' . escape("MemSess-Set: user=ann\nContent-Type: text/plain\n\nsaid"));
my $id = $c->cookie // die 'no session starts';
my $all = "x=1; memsess=$id; y=2; shop=$id; form=$id; only=$id; memsess2=3; z=4";

sub sent { return request($m->port, 'GET', $_[0], ["Cookie: " . ($_[1] // $all), @_[2 .. $#_]]) }
my $left = "x=1; y=2; only=$id; memsess2=3; z=4";

subtest 'in sections that are Off' => sub {
    is scalar(sent('/proxy/echo')->echoed('Cookie')), $left, 'a back end';
    is sent('/cgi/env')->env('HTTP_COOKIE'), $left, 'a CGI program';
    is sent('/fcgi/')->env('HTTP_COOKIE'), $left, 'a FastCGI program';
    is sent('/no/such/file')->env('HTTP_COOKIE'), $left, 'an ErrorDocument';
    is sent('/seen')->env('HTTP_COOKIE'), $left, 'an Action';
    for my $form ("memsess=$id", "shop=$id", "form=made-up", "memsess=; shop=$id;form=", 'memsess=x') {
        is_deeply [sent('/proxy/echo', $form)->echoed('Cookie')], [], "nothing is left of $form"
            =~ s/\Q$id\E/ID/gr;
        is sent('/cgi/env', $form)->env('HTTP_COOKIE'), undef, 'for CGI neither';
    }
    is scalar(sent('/proxy/echo', 'x=1; y=2')->echoed('Cookie')), 'x=1; y=2', 'others are left alone';
};

subtest 'in a section of another cookie' => sub {
    is sent('/shop', 'x=1')->status, 404, 'it is there';
    my $r = sent('/app/env');
    is $r->env('HTTP_COOKIE'), $left, 'one section\'s is not seen in another' or diag $r->body;
    is $r->env('MEMSESS_ATTR_user'), 'ann', 'whose session is';
};

subtest 'MemSessCookieForward On' => sub {
    is scalar(sent('/proxy/echo/forward')->echoed('Cookie')), $all, 'a back end of a section that is Off';
    is sent('/cgi/env/forward')->env('HTTP_COOKIE'), $all, 'a program there';
    is sent('/app/env/forward')->env('HTTP_COOKIE'), $all, 'one that is On';
    my $go = sub { '/cgi/say' . $_[0] . '?' . escape("Location: /cgi/env$_[1]\n\n") };
    is sent($go->('', '/forward'))->env('HTTP_COOKIE'), $all, 'after a redirect from one that is Off';
    my $r = sent($go->('/forward', ''));
    is $r->env('HTTP_COOKIE'), $left, 'not after one to one that is Off';
    unlike $r->body, qr/\Q$id\E(?<!only=\Q$id\E)/, 'under REDIRECT_ neither' or diag $r->body;
};

subtest 'another virtual host has its own' => sub {
    my $there = sub { request($m->tls_port, 'GET', $_[0], ["Cookie: $all"]) };
    # Cookie names of the server's configuration apply to its virtual hosts, too.
    is scalar($there->('/proxy/echo')->echoed('Cookie')), 'x=1; y=2; memsess2=3; z=4', 'and ours too';
    my $front = MemSess::Member->start(config => q(
        MemSess Off
        MemSessCookie shop
        Listen 127.0.0.1:${T_TLS_PORT}
        <VirtualHost *:${T_TLS_PORT}>
            <Location /app>
                MemSess On
            </Location>
        </VirtualHost>));
    is scalar(request($front->port, 'GET', '/proxy/echo', ["Cookie: $all"])->echoed('Cookie')), $all,
        'where there are no sessions at all, nothing is taken out';
    $front->stop;
};

subtest 'mod_authnz_fcgi asks without it' => sub {
    for my $where ('/app/env/guarded', '/outside/guarded') {
        my $r = sent($where, "memsess=$id", 'Authorization: Basic YW5uOng=');
        my $saw = $r->env('SAW') // $r->env('REDIRECT_SAW');
        ok defined $saw, "$where: it was asked" or diag $r->{raw};
        unlike $saw // '', qr/COOKIE/, "$where: and saw none";
        is $r->env('HTTP_COOKIE'), undef, "$where: nor does the program";
        $r = sent($where, $all, 'Authorization: Basic YW5uOng=');
        $saw = $r->env('SAW') // $r->env('REDIRECT_SAW');
        like $saw // '', qr/HTTP_COOKIE=\Q$left\E(?:\||$)/, "$where: but others";
    }
    is sent('/app/env/guarded', $all, 'Authorization: Basic YW5uOng=')->env('MEMSESS_ATTR_user'), 'ann',
        'the session is there all the same';
    like sent('/app/env/guarded/forward', $all, 'Authorization: Basic YW5uOng=')->env('SAW'),
        qr/memsess=\Q$id\E/, 'and with MemSessCookieForward the cookie';
    my $r = sent('/app/env/guarded', $all, 'Authorization: Basic YW5uOnk=');
    is $r->status, 401, 'another password';
    is $c->copy->get('/app/env')->env('MEMSESS_ATTR_user'), 'ann', 'which harmed nothing';
};

subtest 'rules may still look at it' => sub {
    my $r = MemSess::Member->start(servers => [$memcached], config => qq(
        LoadModule authnz_fcgi_module "$modules/mod_authnz_fcgi.so"
        ) . q(
        RewriteEngine On
        RewriteCond %{HTTP_COOKIE} memsess=
        RewriteRule ^/has$ /cgi/env/yes [PT]
        <Directory "${T_ROOT}/htdocs">
            RewriteEngine On
            RewriteCond %{HTTP_COOKIE} memsess=
            RewriteRule ^has$ /cgi/env/yes [PT]
        </Directory>
        Alias /dir/ "${T_ROOT}/htdocs/"));
    for my $target ('/has', '/dir/has') {
        is $c->copy(server => $r)->get($target)->env('PATH_INFO'), '/yes', $target;
    }
    $r->stop;
};

subtest 'a module that makes the environment early' => sub {
    my $p = MemSess::Member->start(servers => [$memcached], config => qq(
        LoadModule perl_module "$modules/mod_perl.so"
        ) . q(
        PerlModule Apache2::RequestRec
        <Location /cgi/env/perl>
            PerlAccessHandler "sub { $_[0]->subprocess_env; return -1 }"
        </Location>));
    my $r = request($p->port, 'GET', '/cgi/env/perl', ["Cookie: memsess=$id"]);
    is $r->env('MEMSESS_ATTR_user'), 'ann', 'the session is there';
    is $r->env('HTTP_COOKIE'), undef, 'but not its cookie' or diag $r->body;
    $p->stop;
};

subtest 'a module\'s kind' => sub {
    my $r = sent('/form', "x=1; form=$id");
    is $r->env('HTTP_COOKIE'), 'x=1', 'where it is opened';
    is sent('/cgi/env', "x=1; form=$id")->env('HTTP_COOKIE'), 'x=1', 'and where it is not';
    is sent('/cgi/env/forward', "form=$id")->env('HTTP_COOKIE'), "form=$id", 'unless it is forwarded';
};

# mod_cache needs the cookie for Vary; filters behind it do not.
subtest 'a program that filters the answer' => sub {
    # A program that ends before it has read everything makes mod_ext_filter drop the answer.
    my $env = "/bin/sh -c '/usr/bin/env; cat > /dev/null'";
    for my $cache ('', "CacheRoot \"\${T_DIR}/cache\"\nCacheEnable disk /\nCacheDefaultExpire 3600\n"
                       . "CacheIgnoreNoLastMod On\nCacheHeader On\n") {
        my $f = MemSess::Member->start(servers => [$memcached], config => qq(
            LoadModule ext_filter_module "$modules/mod_ext_filter.so"
            $cache) . join '', map { qq(
            ExtFilterDefine show$_ mode=output cmd="$env" ftype=$_
            Alias /filtered$_/ "\${T_ROOT}/htdocs/"
            <Location /filtered$_>
                MemSess Off
                SetOutputFilter show$_
                Header set Vary Cookie
            </Location>) } 10, 20, 25);
        for my $type (10, 20, 25) {
            for my $what ('comes', $cache ? 'is kept' : ()) {
                my $r = request($f->port, 'GET', "/filtered$type/plain.txt", ["Cookie: x=1; memsess=$id"]);
                unlike $r->body, qr/memsess=/, "of type $type: it $what" or diag $r->{raw};
                is $r->env('HTTP_COOKIE'), 'x=1', 'other cookies are seen' if $what eq 'comes';
                like $r->header('X-Cache'), qr/^(?:HIT|REVAL)/, 'kept for the cookie as it was sent'
                    if $what eq 'is kept';
            }
        }
        $f->stop;
    }
    # An answer from the cache bypasses all handlers.
    my $q = MemSess::Member->start(servers => [$memcached], config => qq(
        LoadModule ext_filter_module "$modules/mod_ext_filter.so"
        CacheRoot "\${T_DIR}/cache"
        CacheEnable disk /plain.txt
        CacheHeader On
        ExtFilterDefine show mode=output cmd="$env" ftype=25
        SetOutputFilter show
        <Location /plain.txt>
            MemSess Off
            Header set Cache-Control max-age=3600
        </Location>));
    my $r;
    ok wait_for(20, sub { $r = request($q->port, 'GET', '/plain.txt', ["Cookie: x=1; memsess=$id"]);
        $r->header('X-Cache') =~ /^HIT/ }), 'of what the cache has';
    is $r->env('HTTP_COOKIE'), 'x=1', 'it sees none of ours' or diag $r->{raw};
    $q->stop;
};

# This is SECURITY.md's recipe, since the module leaves such a cookie in the answer.
subtest 'a back end sets one of our name' => sub {
    my @says = ('Set-Cookie: memsess=theirs; Path=/', 'Set-Cookie: x=1');
    is_deeply [sort { $a cmp $b } client($m)->get(say_via("proxy", @says))->header("Set-Cookie")],
        ['memsess=theirs; Path=/', 'x=1'], 'it is left in the answer';
    my $r = client($m)->get(say_via('proxy', @says) =~ s{/say}{/say/distrusted}r);
    is_deeply [grep { length } $r->header('Set-Cookie')], ['x=1'], 'unless the section takes it out'
        or diag $r->{raw};
};
$m->stop;
