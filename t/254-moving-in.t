# Tries docs/moving-in.md: each configuration is taken from there, and each move starts from the old
# software, if Debian has it.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 4;

my @pool = map { MemSess::Memcached->start } 1, 2;
my $form = 'Content-Type: application/x-www-form-urlencoded';

# The nth configuration below a heading, with the test's servers in place of the page's.
sub block {
    my ($heading, $n, %with) = @_;
    open my $in, '<', MemSess::Site::top() . '/docs/moving-in.md' or die "moving-in.md: $!";
    my ($section) = do { local $/; <$in> } =~ /^## \Q$heading\E\n(.*?)(?=^## |\z)/ms
        or die "no $heading";
    my $text = ($section =~ /^ *```apache\n(.*?)^ *```$/msg)[$n - 1]
        // die "$heading: no configuration $n";
    my $servers = join ' ', map { $_->address } @pool;
    $text =~ s/^(\s*MemSessServers) .*/$1 $servers/m;
    for my $old (sort keys %with) { $text =~ s/\Q$old\E/$with{$old}/g or die "$heading: no $old" }
    return $text;
}

sub modules {
    my $dir = MemSess::Site::query('LIBEXECDIR');
    return join '', map {
        my $from = /memsess/ ? MemSess::Site::top() . '/.libs' : $dir;
        qq(LoadModule ${_}_module "$from/mod_$_.so"\n)
    } @_;
}

sub location { (scalar $_[0]->header('Location')) =~ s{^http://[^/]+}{}r }

subtest 'from sticky balancers' => sub {
    my @members = map { MemSess::Member->start(servers => \@pool) } 1, 2;
    my %at = ('10.0.0.11' => '127.0.0.1:' . $members[0]->port,
        '10.0.0.12' => '127.0.0.1:' . $members[1]->port);
    my $sticky = block('From sticky balancers', 1, %at);
    my $load = modules(qw(proxy_balancer slotmem_shm lbmethod_byrequests));
    my $balancer = sub { qq(
        MemSess Off
        $load
        $_[0]
        RewriteEngine On
        RewriteRule ^/app(/.*)\$ balancer://members\$1 [P]
        ) };
    my $front = MemSess::Member->start(config => $balancer->($sticky));
    # How many such requests each member answered. This waits until all are in the logs: an answer
    # may come before its line is written.
    my $requests = sub {
        my ($what, $all) = @_;
        my @had;
        wait_for(20, sub {
            @had = map { open my $in, '<', $_->dir . '/access_log';
                scalar grep { /$what/ } <$in> } @members;
            return $had[0] + $had[1] >= $all;
        });
        return @had;
    };

    my $route = client($front, name => 'ROUTEID');
    $route->get('/app/plain.txt');
    like $route->cookie, qr/^\.(?:one|two)$/, 'sticky: a route';
    $route->get('/app/plain.txt') for 1 .. 6;
    is_deeply [sort { $a <=> $b } $requests->('plain.txt', 7)], [0, 7],
        'sticky: one member has it all';
    my $c = started($members[0], 'n=1');
    is data($c->via($members[1])), 'n=1',
        'sessions are shared already, each member asked by itself';

    my $free = $sticky =~ s/ route=\w+//gr =~ s/^\s*(?:ProxySet|Header) .*\n//mgr;
    unlike $free, qr/rout|sticky/i, 'the stickiness goes';
    $front->configure($balancer->($free));
    $front->restart;
    $c = client($front);
    $c->get('/app' . say_via('cgi', 'MemSess-Incr: hits=1')) for 1 .. 6;
    cmp_ok $_, '>', 0, 'both have some' for $requests->('hits', 6);
    is data($c->via($members[0])), 'hits=6', 'of one session';
    $members[0]->stop;
    $c->via($front)->get('/app' . say_via('cgi', 'MemSess-Incr: hits=1')) for 1 .. 2;
    is data($c->via($members[1])), 'hits=8', 'and one can be taken out';
    $_->stop for $front, $members[1];
};

subtest 'from mod_session_dbd' => sub {
    my $db = "$ENV{MEMSESS_T_ROOT}/logs/sessions-$$.sqlite";
    is system('/usr/bin/python3', '-c', 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('
        . '"CREATE TABLE session (key TEXT PRIMARY KEY, value TEXT, expiry INTEGER)")', $db), 0,
        'a database';
    my $statements = q(
        DBDPrepareSQL "delete from session where key = %s" deletesession
        DBDPrepareSQL "update session set value = %s, expiry = %lld, key = %s where key = %s" \\
            updatesession
        DBDPrepareSQL "insert into session (value, expiry, key) values (%s, %lld, %s)" insertsession
        DBDPrepareSQL \\
            "select value from session where key = %s and (expiry = 0 or expiry > %lld)" \\
            selectsession
        DBDPrepareSQL "delete from session where expiry != 0 and expiry < %lld" cleansession
    );
    my $app = q(
        ScriptAlias "/private/cgi/" "${T_ROOT}/cgi-bin/"
        MemSess Off
        SessionEnv On
        SessionHeader X-Replace-Session
        <LocationMatch "^/(private/|dologin|logout)">
            AuthType form
            AuthName "Private"
            AuthFormProvider file
            AuthUserFile "${T_EXAMPLES}/form/users"
            AuthFormLoginRequiredLocation "/login.html"
        </LocationMatch>
        <Location "/private/">
            Require valid-user
        </Location>
        <Location "/dologin">
            SetHandler form-login-handler
            AuthFormLoginSuccessLocation "/private/cgi/env"
        </Location>
        <Location "/logout">
            SetHandler form-logout-handler
            AuthFormLogoutLocation "/login.html"
        </Location>
    );
    my $common = 'Define T_EXAMPLES ' . MemSess::Site::top() . "/examples\n"
        . modules(qw(session request auth_form));
    my $before = $common . modules(qw(dbd session_dbd)) . block('From mod_session_dbd', 1,
        'DBDriver pgsql' => 'DBDriver sqlite3',
        'DBDPrepareSQL "..." deletesession    # and four more' => $statements,
        'DBDParams "dbname=apachesession user=apache password=xxxxx host=localhost"' =>
            qq(DBDParams "$db")) . $app;
    my $after = $common . modules('session_memsess') . block('From mod_session_dbd', 2) . $app;

    my ($one, $two) = map { MemSess::Member->start(config => $before) } 1, 2;
    my $old = client($one, name => 'session');
    my $login = 'httpd_username=ann&httpd_password=test';
    is location($old->post('/dologin', $login, $form)), '/private/cgi/env', 'before: log-in';
    is $old->via($two)->get('/private/cgi/env')->env('REMOTE_USER'), 'ann',
        'before: on both, by the database';

    $one->configure($after);
    $one->graceful;
    is location($old->via($one)->get('/private/cgi/env')), '/login.html',
        'one member: log in once more';
    my $new = client($one, name => 'memsession');
    is location($new->post('/dologin', $login, $form)), '/private/cgi/env', 'which succeeds';
    my $r = $new->get('/private/cgi/env', 'X: y');
    is $r->env('REMOTE_USER'), 'ann', 'and holds';
    unlike $r->env('HTTP_COOKIE') // '', qr/memsession/, 'without the cookie';
    is $old->via($two)->get('/private/cgi/env')->env('REMOTE_USER'), 'ann',
        'the other member goes on';

    $two->configure($after);
    $two->graceful;
    is $new->via($two)->get('/private/cgi/env')->env('REMOTE_USER'), 'ann',
        'both members: by the pool';
    is location($old->get('/private/cgi/env')), '/login.html', 'the old session is over';
    $new->get('/logout');
    is $new->cookie, undef, 'log-out';
    is location($new->via($one)->get('/private/cgi/env')), '/login.html', 'everywhere';
    $_->stop for $one, $two;
};

# The first of the two configurations is for a module that Debian does not have.
subtest 'from mod_auth_memcookie' => sub {
    my $m = MemSess::Member->start(config => q(
        MemSess Off
        ScriptAliasMatch "^/(?:login|members|board|public)/(\w+)$" "${T_ROOT}/cgi-bin/$1"
        ProxyPass /back/ "http://127.0.0.1:${T_BACKEND}/"
        ErrorDocument 401 "log in"
    ) . block('From mod_auth_memcookie', 2));
    my ($nobody, $ann, $eve) = map { client($m, name => 'membership') } 1 .. 3;
    my $at_login = sub { my ($c, @says) = @_; $c->get(say_via('cgi', @says) =~ s{^/cgi}{/login}r) };
    is lc location($nobody->get('/members/env', 'Accept: text/html')),
        '/login?back=%2fmembers%2fenv', 'nobody is sent to log in';
    my $r = $nobody->get('/members/env');
    is $r->status . $r->body, '401log in', 'or told by the ErrorDocument';
    is $nobody->get('/public/env')->env('REMOTE_USER'), undef, 'public: nobody comes in';
    $at_login->($ann, 'MemSess-Set: UserName=ann&Groups=staff&Email=ann%40example.org',
        'MemSess-Renew: 1');
    $at_login->($eve, 'MemSess-Set: UserName=eve&Groups=staff:board', 'MemSess-Renew: 1');
    $r = $ann->get('/members/env');
    is $r->env('REMOTE_USER'), 'ann', 'members come in';
    is $r->env('MEMSESS_ATTR_Email'), 'ann@example.org', 'with what else is known';
    is scalar $ann->get('/back/echo')->echoed('MCAC_USERNAME'), 'ann', 'the header of old';
    is scalar $nobody->get('/back/echo', 'MCAC_USERNAME: ann')->echoed('MCAC_USERNAME'), '',
        'that nobody can pretend';
    is $ann->get('/public/env')->env('REMOTE_USER'), 'ann', 'public: known';
    is $ann->get('/board/env')->status, 403, 'not of the group';
    is $eve->get('/board/env')->env('REMOTE_USER'), 'eve', 'of the group';
    $at_login->($eve, 'MemSess-Destroy: 1');
    is $eve->cookie, undef, 'log-out';
    $m->stop;
};

subtest 'from php.ini' => sub {
    my ($status, $message) = MemSess::Member->check(block('From php.ini', 1));
    is $status, 0, 'accepted' or diag $message;
};
