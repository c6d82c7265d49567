# Who sees the session, in which form, and that nobody can forge it.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Test;

plan tests => 16;

my $memcached = MemSess::Memcached->start;
my $m = MemSess::Member->start(servers => [$memcached], config => q(
    LogFormat "%U state=%{MEMSESS_STATE}e id=%{MEMSESS_ID}e role=%{MEMSESS_ATTR_role}e" session
    CustomLog "${T_DIR}/session_log" session

    RewriteEngine On
    RewriteCond %{ENV:MEMSESS_STATE} =active
    RewriteCond %{ENV:MEMSESS_ATTR_role} =admin
    RewriteRule ^/rewritten$ /cgi/env/admin [PT]
    RewriteRule ^/rewritten$ /cgi/env/other [PT]
    <Directory "${T_ROOT}/htdocs">
        RewriteEngine On
        RewriteCond %{ENV:MEMSESS_ATTR_role} =admin
        RewriteRule ^by-directory$ /cgi/env/admin [PT]
    </Directory>

    RewriteRule ^/proxied_by_rewrite$ http://127.0.0.1:${T_BACKEND}/echo [P]

    <If "reqenv('MEMSESS_ATTR_role') == 'admin'">
        Header always set X-If admin
    </If>
    Header always set X-State "%{MEMSESS_STATE}e"
    ErrorDocument 404 /cgi/env/missing

    <LocationMatch /idle>
        MemSessIdleTimeout 1s
    </LocationMatch>
    <LocationMatch /keys>
        MemSessExposeKeys user role*
    </LocationMatch>
    <LocationMatch /env_only>
        MemSessExpose env
    </LocationMatch>
    <LocationMatch /headers_only>
        MemSessExpose headers
    </LocationMatch>
    <LocationMatch /none>
        MemSessExpose none
    </LocationMatch>
    <LocationMatch /off>
        MemSess Off
    </LocationMatch>
    MergeTrailers On
));

my $ours = qr/^memsess[-_]/i;

# The lines that a back end saw with a reserved name.
sub reserved { return grep { /$ours/ } split /\r?\n/, $_[0]->body }

# Headers by which a client may claim a session: every way to write the names.
my @forged = map { ("$_: active", "$_: forged") } qw(
    MemSess-State memsess-state MEMSESS-STATE MemSess_State memsess_state MEMSESS_STATE
    Memsess-state MemSess-Id memsess_id MEMSESS_ID MemSess-Data MemSess_Data memsess-data
    MEMSESS-DATA MemSess- MemSess_ MemSess-Anything memsess_anything MemSess_-_x MEMSESS-SET
    MemSess-Destroy
);

my $admin = started($m, 'role=admin&user=anna&nick.name=x');
my $id = $admin->get('/cgi/env')->env('MEMSESS_ID');

subtest 'the environment, for everything that reads it' => sub {
    my $nobody = client($m);

    is $admin->get('/session.shtml')->body =~ /^state=(.*)$/m && $1, 'active', 'SSI';
    is $nobody->get('/session.shtml')->body =~ /^state=(.*)$/m && $1, 'none',
        'SSI without a session';

    my $r = $admin->get('/lua/env');
    is $r->env('MEMSESS_STATE'), 'active', 'mod_lua: state';
    is $r->env('MEMSESS_ID'), $id, 'mod_lua: id';
    is $r->env('MEMSESS_DATA'), 'nick.name=x&role=admin&user=anna', 'mod_lua: data';
    is $nobody->get('/lua/env')->env('MEMSESS_STATE'), 'none', 'mod_lua without a session';

    is $admin->get('/rewritten')->env('PATH_INFO'), '/admin', 'mod_rewrite';
    is $nobody->get('/rewritten')->env('PATH_INFO'), '/other', 'mod_rewrite without a session';
    is $admin->get('/by-directory')->env('PATH_INFO'), '/admin', 'mod_rewrite in a directory';
    is $nobody->get('/by-directory')->status, 404, 'the same without a session';

    is scalar($admin->get('/plain.txt')->header('X-If')), 'admin', '<If>';
    is scalar($nobody->get('/plain.txt')->header('X-If')), '', '<If> without a session';
    is scalar($admin->get('/plain.txt')->header('X-State')), 'active', 'mod_headers';

    my $log = MemSess::Log->new($m->dir . '/session_log');
    my $mark = $log->mark;
    $admin->get('/plain.txt');
    $nobody->get('/plain.txt');
    ok $log->wait_for(qr{^/plain.txt state=active id=\Q$id\E role=admin$}m, $mark), 'log format';
    ok $log->wait_for(qr{^/plain.txt state=none id=- role=-$}m, $mark),
        'log format without a session';
};

subtest 'names and values in the environment' => sub {
    my $c = client($m);
    my %value = (
        plain   => 'x',
        empty   => '',
        special => "a&b=c%d,e;f+g h\"i'j",
        utf8    => "\xc3\xa9",
        latin   => "\xff\xfe",
        newline => "one\ntwo",
        crlf    => "one\r\nMemSess-Set: two",
        escape  => "\x1b[0m",
    );
    set_via($c, join '&', map { "$_=" . escape($value{$_}) } keys %value);
    set_via($c, 'with.dot-and_dash=y');
    my $r = $c->get('/cgi/env');
    is $r->env("MEMSESS_ATTR_$_"), $value{$_}, $_ for qw(plain empty special utf8 latin);
    is $r->env("MEMSESS_ATTR_$_"), undef, "$_: has control characters" for qw(newline crlf escape);
    is $r->env('MEMSESS_ATTR_with_dot_and_dash'), 'y', 'other characters in a name';

    for my $data ($r->env('MEMSESS_DATA'), scalar $c->get('/proxy/echo')->echoed('MemSess-Data')) {
        my @names = map { /^([^=]*)/ } split /&/, $data;
        is_deeply \@names, [sort keys %value, 'with.dot-and_dash'], 'data: in name order';
        unlike $data, qr/[^A-Za-z0-9_.&=%+*~-]/, 'data: everything else is encoded';
        my %got = map { my ($n, $v) = split /=/, $_,
            2; $v =~ tr/+/ /; $v =~ s/%(..)/chr hex $1/ge; ($n, $v) }
            split /&/, $data;
        is_deeply \%got, { %value, 'with.dot-and_dash' => 'y' }, 'data: and decodes to the values';
    }
};

subtest 'names that are one to the environment' => sub {
    my $c = started($m, 'role=admin&Role=x&user=eve&a-b=1&a.b=2&a_b=3&A_B=4');
    my $r = $c->get('/cgi/env');
    is_deeply {$r->body =~ /^(MEMSESS_ATTR_\w+)=(.*)$/mg}, {MEMSESS_ATTR_user => 'eve'},
        'none of them has a variable';
    is $c->get('/rewritten')->env('PATH_INFO'), '/other', 'for whoever asks';
    is data($c), 'A_B=4&Role=x&a-b=1&a.b=2&a_b=3&role=admin&user=eve', 'the data has them all';
};

subtest 'headers to a back end' => sub {
    my $r = $admin->get('/proxy/echo');
    is_deeply [sort(reserved($r))],
        ['MemSess-Data: nick.name=x&role=admin&user=anna', "MemSess-Id: $id",
         'MemSess-State: active'],
        'an active session';
    is_deeply [reserved(client($m)->get('/proxy/echo'))], ['MemSess-State: none'], 'none';
};

subtest 'every state, in environment and header' => sub {
    my %client = map { $_ => client($m) } qw(none unknown invalid);
    $client{unknown}->set_cookie('A' x 24);
    $client{invalid}->set_cookie('no such form');
    $client{active}  = $admin;
    for my $state (sort keys %client) {
        is state($client{$state}->copy), $state, "env: $state";
        my $r = $client{$state}->copy->get('/proxy/echo');
        is_deeply [$r->echoed('MemSess-State')], [$state], "header: $state";
        next if $state eq 'active';
        is_deeply [$r->echoed($_)], [], "$state: no $_" for qw(MemSess-Id MemSess-Data);
    }
    my $c = client($m);
    is $c->get(say_via('cgi/idle', 'MemSess-Set: a=1'))->status, 200, 'a short session';
    let_pass(1.3);
    is $c->copy->get('/cgi/env/idle')->env('MEMSESS_STATE'), 'expired', 'env: expired';
    is_deeply [reserved($c->copy->get('/proxy/echo/idle'))], ['MemSess-State: expired'],
        'header: expired';
};

subtest 'MemSessExposeKeys' => sub {
    my $c = started($m, 'user=anna&role=admin&role.2=editor&users=x&rol=y&secret=z');
    my $r = $c->get('/cgi/env/keys');
    is $r->env('MEMSESS_DATA'), 'role=admin&role.2=editor&user=anna', 'data';
    is $r->env('MEMSESS_ATTR_user'), 'anna', 'a name';
    is $r->env('MEMSESS_ATTR_role_2'), 'editor', 'a pattern';
    is $r->env("MEMSESS_ATTR_$_"), undef, "not $_" for qw(users rol secret);
    is scalar($c->get('/proxy/echo/keys')->echoed('MemSess-Data')),
        'role=admin&role.2=editor&user=anna', 'header';
};

subtest 'MemSessExpose says where' => sub {
    is_deeply [reserved($admin->get('/proxy/echo/env_only'))], [], 'env: no headers';
    is $admin->get('/cgi/env/env_only')->env('MEMSESS_STATE'), 'active', 'env: but an environment';
    is $admin->get('/cgi/env/headers_only')->env('MEMSESS_STATE'), undef, 'headers: no environment';
    is scalar($admin->get('/proxy/echo/headers_only')->echoed('MemSess-State')), 'active',
        'headers: but headers';
    for my $where (qw(none off)) {
        is_deeply [reserved($admin->get("/proxy/echo/$where"))], [], "$where: no headers";
        unlike $admin->get("/cgi/env/$where")->body, qr/^(?:HTTP_)?MEMSESS_(?!T_)/m,
            "$where: no environment";
    }
};

subtest 'what a client calls MemSess- is dropped: proxied' => sub {
    for my $where ('', qw(/env_only /headers_only /none /off)) {
        for my $c (client($m), $admin) {
            my $who = ($where || '/') . ($c->cookie ? ', with a session' : '');
            my @expected = reserved($c->get("/proxy/echo$where"));
            is_deeply [reserved($c->get("/proxy/echo$where", @forged))], \@expected, $who;
        }
    }
};

subtest 'what a client calls MemSess- is dropped: CGI' => sub {
    for my $where ('', qw(/env_only /none /off)) {
        for my $c (client($m), $admin) {
            my ($plain, $forged) = map {
                # A log-in's age may have grown by one second.
                [grep { s/^MEMSESS_LOGIN_AGE=\K\d+$/N/; /MEMSESS/i && !/^(?:MEMSESS_T|HTTP_COOKIE)/ }
                    split /\n/, $_->body]
            } $c->get("/cgi/env$where"), $c->get("/cgi/env$where", @forged);
            is_deeply $forged, $plain, ($where || '/') . ($c->cookie ? ', with a session' : '');
        }
    }
};

subtest 'what a client calls MemSess- is dropped: proxied by mod_rewrite' => sub {
    for my $c (client($m), $admin) {
        is_deeply [sort(reserved($c->get('/proxied_by_rewrite', @forged)))],
            [sort(reserved($c->get('/proxy/echo')))], $c->cookie ? 'with a session' : 'without';
    }
};

subtest 'many of them, and in between' => sub {
    my @many = map { ("X-Kept-$_: $_", "MemSess-X$_: forged", "memsess_$_: forged") } 1 .. 100;
    my $r = client($m)->get('/proxy/echo', @many);
    is_deeply [reserved($r)], ['MemSess-State: none'], 'all are dropped';
    is scalar(my @kept = $r->body =~ /^X-Kept-/mg), 100, 'the others are kept';
};

subtest 'trailers' => sub {
    my $body = "5\r\nhello\r\n0\r\n"
        . "MemSess-State: active\r\nmemsess_id: forged\r\nX-Trailer: yes\r\n\r\n";
    for my $where ('', '/none', '/off') {
        my @expected = reserved(client($m)->get("/proxy/echo$where"));
        for my $handler (qw(proxy/echo cgi/env lua/env)) {
            my $r = raw($m->port,
                "POST /$handler$where HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                . "Transfer-Encoding: chunked\r\nTrailer: MemSess-State, memsess_id, X-Trailer\r\n"
                . "\r\n$body");
            next if $handler eq 'lua/env' && $where;
            is $r->status, 200, "$handler$where answers";
            is_deeply [reserved($r)], \@expected, "$handler$where: dropped"
                if $handler eq 'proxy/echo';
            unlike $r->body, qr/forged|HTTP_MEMSESS_(?:STATE=active|ID)/,
                "$handler$where: not forged";
        }
    }
};

subtest 'a client cannot have ours removed' => sub {
    my @expected = sort(reserved($admin->get('/proxy/echo')));
    is scalar @expected, 3, 'there are three';
    for my $connection (
        ['Connection: close, MemSess-State, MemSess-Id, MemSess-Data'],
        ['Connection: memsess-state,memsess-id,memsess-data, close'],
        ['Connection: MemSess-State', 'Connection: MemSess-Id', 'Connection: MemSess-Data, close'],
        ['Connection: close', 'Connection: MEMSESS-STATE , MEMSESS-DATA'],
        ['Connection: close, MemSess-State', 'MemSess-State: none'],
        ['Connection: close', 'Proxy-Connection: MemSess-State, MemSess-Data'],
        ['Connection: close', 'TE: MemSess-State', 'Trailer: MemSess-State'],
        ['Connection: close;MemSess-State;memsess-id'],
        ['Connection: close MemSess-State x memsess-data'],
        ["Connection: close\tMemSess-State"],
        ['Connection: "a b" MemSess-State;;close , ; MemSess-Id'],
    ) {
        my $r = $admin->get('/proxy/echo', @$connection);
        is_deeply [sort(reserved($r))], \@expected, join ' | ', @$connection;
    }
    my $r = $admin->get('/proxy/echo', 'Connection: close, X-Private', 'X-Private: 1');
    is scalar($r->echoed('X-Private')), '', 'other names in Connection still count';
};

subtest 'what does not fit a header is not cut silently' => sub {
    my $c = client($m);
    my $long = join '', map { chr(97 + $_ % 26) } 1 .. 30000;
    set_via($c, "long=$long", 'lua');
    is $c->get('/cgi/env')->env('MEMSESS_ATTR_long'), $long, 'the environment has all of it';
    my $mark = $m->log->mark;
    my $r = $c->get('/proxy/echo');
    my $data = $r->echoed('MemSess-Data');
    ok $data eq "long=$long" || $data eq '', 'a header has all or nothing';
    ok $data || $m->log->text($mark) =~ /MemSess-Data/, 'and the log says so';
};

subtest 'exposed again after an internal redirect, in an ErrorDocument and in a subrequest' => sub {
    for my $target (say_via('cgi', 'Location: /cgi/env'), '/rewritten') {
        my $r = $admin->get($target, @forged);
        is $r->env('MEMSESS_STATE'), 'active', 'state';
        is $r->env('MEMSESS_ID'), $id, 'id';
        is $r->env('MEMSESS_ATTR_user'), 'anna', 'an attribute';
    }
    my $r = client($m)->get(say_via('cgi', 'Location: /proxy/echo'), @forged);
    is_deeply [reserved($r)], ['MemSess-State: none'], 'still nothing forged';
    $r = $admin->get('/missing', @forged);
    is_deeply [$r->status, map { $r->env($_) } qw(PATH_INFO MEMSESS_STATE MEMSESS_ATTR_user)],
        [404, '/missing', 'active', 'anna'], 'an ErrorDocument';

    my %of = $admin->get('/sections.shtml', @forged)->body =~ /^\[(\w+) (.*?)^\]/gms;
    like $of{page}, qr/^MEMSESS_ATTR_role=admin$/m, 'a subrequest';
    like $of{keys}, qr/^MEMSESS_ATTR_user=anna$/m, 'one to another section, by what that says';
    unlike $of{$_}, qr/^MEMSESS/m, "one to a section that shows nothing: $_" for qw(none off);
};

subtest 'the public id' => sub {
    like $id, qr/^[A-Za-z0-9_-]{8,}$/, 'one word';
    is state(client($m)->set_cookie($id)) =~ /^(?:unknown|invalid)$/ ? 1 : 0, 1,
        'is useless as a cookie';
};
