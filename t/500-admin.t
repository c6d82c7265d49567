# SetHandler memsess-admin, and memsessctl, which uses it: who may ask, and what each request does.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use JSON::PP;
use MemSess::Clock;
use MemSess::Site;
use MemSess::Test;

plan tests => 7;

my $t_dir  = $ENV{MEMSESS_T_ROOT};
my $secret = "$t_dir/logs/admin-secret-$$";
write_file($secret, '0123456789abcdef' x 4, 0600);
my $files = "$t_dir/htdocs/admin-$$";
mkdir $_ for $files, "$files/set", "$files/add";
write_file("$files/set/.htaccess", "SetHandler memsess-admin\n");
write_file("$files/add/.htaccess", "AddHandler memsess-admin .adm\nRequire ip 127.0.0.1\n");
write_file("$files/add/x.adm", '');

my @pool = map { MemSess::Memcached->start } 1 .. 3;
my $modules = MemSess::Site::query('LIBEXECDIR');
my $m = MemSess::Member->start(servers => \@pool, config => qq(
    LoadModule access_compat_module "$modules/mod_access_compat.so"
    MemSessSecret file:$secret
    MemSessRetry  300ms
    LuaMapHandler ^/short/(\\w+) "\${T_ROOT}/lua/\$1.lua"
    <Location /short/>
        MemSessIdleTimeout 1s
    </Location>
    <Location /brief>
        SetHandler memsess-admin
        Require ip 127.0.0.1
        MemSessIdleTimeout 1s
        MemSessAbsoluteTimeout 1s
    </Location>
    <Location ~ "^/(?:admin|unguarded|granted|open|ours|limited)\$">
        SetHandler memsess-admin
    </Location>
    <Location /admin>
        Require ip 127.0.0.1
    </Location>
    <Location /granted>
        Require all granted
    </Location>
    <Location /beside>
        SetHandler memsess-admin
        Require ip 10.1.2.3
        Require all granted
    </Location>
    <Location /merged>
        Require all granted
    </Location>
    <Location /merged/or>
        SetHandler memsess-admin
        AuthMerging Or
        Require ip 10.1.2.3
    </Location>
    <Location /methods>
        SetHandler memsess-admin
        <Limit GET>
            Require ip 10.1.2.3
        </Limit>
    </Location>
    <Location /all>
        SetHandler memsess-admin
        <RequireAll>
            Require all granted
            Require ip 127.0.0.1
        </RequireAll>
    </Location>
    <Location /but>
        SetHandler memsess-admin
        <RequireAll>
            Require all granted
            Require not ip 10.1.2.3
        </RequireAll>
    </Location>
    <Location /expression>
        SetHandler memsess-admin
        Require expr true
    </Location>
    <Location /expression-beside>
        SetHandler memsess-admin
        Require ip 10.1.2.3
        Require expr true
    </Location>
    <Location /expression-all>
        SetHandler memsess-admin
        <RequireAll>
            Require ip 127.0.0.1
            Require expr true
        </RequireAll>
    </Location>
    <Location /variable>
        SetHandler memsess-admin
        SetEnvIf Request_URI . anybody
        Require env anybody
    </Location>
    <Location /method>
        SetHandler memsess-admin
        Require method GET POST
    </Location>
    <IfModule authz_core_module>
        <AuthzProviderAlias all everybody granted>
        </AuthzProviderAlias>
    </IfModule>
    <AuthzProviderAlias ip here 127.0.0.1>
    </AuthzProviderAlias>
    <Location /alias>
        SetHandler memsess-admin
        Require everybody
    </Location>
    <Location /alias-of-guard>
        SetHandler memsess-admin
        Require here
    </Location>
    <Location /any>
        SetHandler memsess-admin
        Require user root
        Satisfy Any
    </Location>
    <Location /none>
        SetHandler memsess-admin
        <RequireAll>
            <RequireNone>
                Require ip 10.1.2.3
            </RequireNone>
            Require all granted
        </RequireAll>
    </Location>
    <Location /nested>
        SetHandler memsess-admin
        <RequireAll>
            <RequireAny>
                Require all granted
                Require ip 10.1.2.3
            </RequireAny>
        </RequireAll>
    </Location>
    <Location /ours>
        AuthType MemSess
        Require user root
    </Location>
    LogFormat "%{memsess-handle}n %U" handles
    CustomLog "$t_dir/logs/handles-$$" handles
    <Location /limited>
        Require ip 127.0.0.1
        SetHandler other
    </Location>
    Alias /files/ "$files/"
    <Directory "$files">
        AllowOverride All
    </Directory>
));

sub write_file {
    my ($path, $text, $mode) = @_;
    open my $out, '>', $path or die "$path: $!";
    print $out $text;
    close $out or die "$path: $!";
    chmod $mode // 0644, $path;
}

# Sends a POST as an administrator does: ask(where, field => value, ...)
sub ask {
    my ($where, @fields) = @_;
    my @pairs;
    while (my ($name, $value) = splice @fields, 0, 2) { push @pairs, "$name=" . escape($value) }
    return client($m)->post($where, join('&', @pairs), 'MemSess-Admin: 1',
        'Content-Type: application/x-www-form-urlencoded');
}

sub said { return decode_json($_[0]->body) }

sub user { return started($m, "user=$_[0]") }

# Runs memsessctl: its status, and its output.
sub ctl {
    my @words = map { "'$_'" } @_;
    my $text = qx($^X '$t_dir/../memsessctl' --url http://127.0.0.1:@{[ $m->port ]}/admin @words 2>&1);
    return ($? >> 8, $text);
}

subtest 'who may ask' => sub {
    my $mark = $m->log->mark;
    is ask('/unguarded', user => 'ann')->status, 403, 'without a Require';
    is client($m)->get('/unguarded?user=ann')->status, 403, 'nor GET';
    like $m->log->text($mark), qr/memsess-admin is forbidden here: no Require guards it/, 'the log';
    is ask('/granted', user => 'ann')->status, 403, 'Require all granted is no guard';
    is ask($_, user => 'ann')->status, 403, "$_: one that keeps nobody out is none"
        for qw(/beside /merged/or /methods /but /nested /expression /expression-beside /variable /method
               /alias /any /none);
    like $m->log->text($mark), qr/with Satisfy Any its Require keeps nobody out/, 'Satisfy Any, the log';
    is ask($_, user => 'ann')->status, 200, "$_: both are asked for" for qw(/all /expression-all);
    is ask('/alias-of-guard', user => 'ann')->status, 200, 'a guard by another name';
    is ask('/admin', user => 'ann')->status, 200, 'with one';
    is ask('/ours', user => 'ann')->status, 401, 'one that does not let in';
    $mark = $m->log->mark;
    is client($m)->get('/files/set/x')->status, 500, '.htaccess: SetHandler';
    like $m->log->text($mark), qr/SetHandler memsess-admin is for the server's configuration/, 'log';
    is client($m)->get('/files/add/x.adm?user=ann')->status, 403, '.htaccess: AddHandler';
    isnt client($m)->get('/limited?user=ann')->status, 200, 'another handler in its place';
    is client($m)->get('/env/memsess-admin')->status, 404, 'nor by a path';
};

subtest 'no other site can ask' => sub {
    my $c = user('ann');
    my @form = ('user=ann', 'Content-Type: application/x-www-form-urlencoded');
    for my $header ([], ['MemSess-Admin: 0'], ['MemSess_Admin: 1'], ['X-MemSess-Admin: 1']) {
        my $r = client($m)->post('/admin', @form, @$header);
        is $r->status, 400, join ' ', 'a POST with', @$header;
        like said($r)->{error}, qr/MemSess-Admin: 1/, 'says what is needed';
    }
    is state($c), 'active', 'nothing has ended';
    my $r = client($m)->get('/proxy/echo', 'MemSess-Admin: 1');
    unlike $r->body, qr/memsess-admin/i, 'a back end does not see the header';
    is client($m)->send('DELETE', '/admin')->status, 405, 'another method';
    is ask('/admin', user => 'ann')->header('Cache-Control'), 'no-store', 'nothing is kept';
};

subtest 'ending all sessions of a user' => sub {
    my @ann = map { user('ann') } 1, 2;
    my $bob = user('bob');
    my $r = ask('/admin', user => 'ann');
    is_deeply said($r), { user => 'ann', ended => 'all' }, 'the answer';
    is_deeply [map { state($_) } @ann, $bob], [qw(unknown unknown active)], 'they are over';
    is ask('/admin', user => 'nobody-knows-her')->status, 200, 'nothing to end is no error';
    my $name = "\x{c3}\x{a4} \"x\"<&+%";
    my $odd = user(escape($name));
    is ask('/admin', user => $name)->status, 200, 'any bytes';
    is state($odd), 'unknown', 'are exact';
    for (['', 'none'], ['user=', 'an empty one'], ['user=a&user=b', 'two'], ['who=ann', 'another'],
         ['user=a%00b', 'a NUL'], ['user=a&cookie=b', 'and a cookie']) {
        is client($m)->post('/admin', $_->[0], 'MemSess-Admin: 1',
            'Content-Type: application/x-www-form-urlencoded')->status, 400, "user: $_->[1]";
    }
    is client($m)->get('/admin')->status, 400, 'GET: none';
    is_deeply said(client($m)->get('/admin?user=bob')), { user => 'bob', sessions => undef },
        'GET without a list';
    my ($status, $text) = ctl(end => 'bob');
    is "$status $text", "0 ended: all sessions of bob\n", 'memsessctl end';
    is state($bob), 'unknown', 'ends them';
    like +(ctl(sessions => 'bob'))[1], qr/MemSessUserSessions is Off/, 'memsessctl sessions';
};

subtest 'why' => sub {
    my $c = started($m, 'a=secret-value');
    my $cookie = $c->cookie;
    my $handles = MemSess::Log->new("$t_dir/logs/handles-$$");
    my $summary = sub { said(ask('/admin', cookie => $_[0]))->{summary} };
    my $said = said(ask('/admin', cookie => $cookie));
    like $said->{summary}, qr/^active: last used at 20/, 'active';
    is scalar(grep { $_->{state} eq 'active' } @{ $said->{servers} }), 2, 'two copies';
    is_deeply [map { $_->{revision} // 0 } grep { $_->{home} } @{ $said->{servers} }], [1, 1],
        'at their homes';
    my $id = $c->get('/lua/env')->env('MEMSESS_ID');
    is $said->{servers}[0]{id}, $id, 'MEMSESS_ID';
    ok wait_for(20, sub { $handles->text(0)
        =~ m{^\Q$said->{handle}\E /lua/env$}m }), 'the handle is what access logs can have';
    unlike ask('/admin', cookie => $cookie)->body, qr/secret-value|\Q$cookie\E/, 'no value of it';
    is $summary->("memsess=$cookie"), $said->{summary}, 'by name';
    like $summary->('nonsense'), qr/malformed/, 'malformed';
    like $summary->($cookie =~ s/(.)$/ $1 eq '0' ? '1' : '0'/er), qr/another secret/, 'altered';
    like $summary->(substr $cookie, 0, 24), qr/not signed/, 'unsigned';
    $c->get(say_via('cgi', 'MemSess-Renew: 1'));
    like $summary->($cookie), qr/^renewed at .* under another id/, 'renewed';
    my $renewed = $c->cookie;
    $c->get(say_via('cgi', 'MemSess-Destroy: 1'));
    like $summary->($renewed), qr/^ended by log-out at /, 'logged out';
    my $ann = user('ann');
    my $anns = $ann->cookie;
    ask('/admin', user => 'ann');
    like $summary->($anns), qr/^ended with all sessions of its user/, 'with all of the user';
    my ($status, $text) = ctl(why => $anns);
    is $status, 0, 'memsessctl why';
    like $text, qr/^ended with all.*^  127\.0\.0\.1:\d+: active, revision \d+, begun 20/ms, 'its words';
    my $ctl = "$^X '$t_dir/../memsessctl' --url http://127.0.0.1:@{[ $m->port ]}/admin why -";
    like scalar qx(printf '%s\n' '$anns' | $ctl), qr/^ended with all/, 'from standard input';
    my $evicted = started($m)->cookie;
    $_->command("flush_all") for @pool;
    like $summary->($evicted), qr/^not found on any server: it has expired, was evicted/, 'evicted';
    unlike $m->log->text, qr/\Q$evicted\E/, 'no cookie in the log';
};

# The section of the handler is not the one that the session was used in.
subtest 'why, of what ended alone or lasts longer' => sub {
    my $listed = MemSess::Member->start(servers => \@pool, config => qq(
        MemSessSecret file:$secret
        MemSessUserSessions 2
    ));
    my $why = sub { my ($c, $where) = @_;
        return said(ask($where // '/admin', cookie => $c->cookie))->{summary} };
    my ($one, $two) = map { started($listed, 'user=lea') } 1, 2;
    $two->get(say_via('lua', 'MemSess-Destroy: id=' . $one->get('/lua/env')->env('MEMSESS_ID')));
    like $why->($_), qr/^ended on its own: by MemSess-Destroy: id=/, 'one that was ended by its id' for $one;
    my @three = map { let_pass(1.1); started($listed, 'user=lea') } 1 .. 2;
    like $why->($two), qr/^ended on its own: .* more sessions than MemSessUserSessions allows$/, 'one too many';
    like $why->($two, '/brief'), qr/^ended on its own/, 'whatever the time-out of that section is';
    $three[1]->get(say_via('lua', 'MemSess-Destroy: others'));
    like $why->($three[0]), qr/^ended with all .* or with all but one/, 'others';
    like $why->($three[1]), qr/^active/, 'and the one that goes on';

    my $long = started($m);
    my $kept = client($m);
    $kept->get(say_via('lua', 'MemSess-Set: a=1', 'MemSess-Expire: 3600'));
    my $short = client($m);
    $short->get(say_via('lua', 'MemSess-Set: a=1', 'MemSess-Expire: 1'));
    let_pass(2.1);
    like $why->($long), qr/^active/, 'within its time';
    like $why->($long, '/brief'), qr/^expired: it began at .* MemSessAbsoluteTimeout allows here$/,
        'the other one';
    like $why->($kept, '/brief'), qr/^active/, 'MemSess-Expire, whatever the time-outs say';
    like $why->($short), qr/^(?:expired: unused since .* longer than 1 s|not found on any)/,
        'and when that is over';
    is state($kept), 'active', 'so it is';
};

subtest 'while servers are silent' => sub {
    my $c = user('dora');
    my $cookie = $c->cookie;
    $_->pause for @pool;
    my $r = ask('/admin', user => 'dora');
    is $r->status, 503, 'who cannot be asked ends nothing';
    like said($r)->{error}, qr/\w/, 'and says why';
    is +(ctl(end => 'dora'))[0], 3, 'memsessctl';
    like said(ask('/admin', cookie => $cookie))->{summary}, qr/3 of 3 are silent/, 'why';
    $_->resume for @pool;
    ok wait_for(20, sub { (state($c) // '') eq 'active' }), 'it goes on';
};

subtest 'memsessctl' => sub {
    my $run = sub { my $text = qx($^X '$t_dir/../memsessctl' @_ 2>&1); return ($? >> 8, $text) };
    my ($status, $text) = $run->('');
    is $status, 2, 'without a command';
    like $text, qr/^usage: memsessctl/, 'says how';
    ($status, $text) = $run->('--conf /nowhere end ann');
    like "$status $text", qr/^2 .*no URL: give one by --url/, 'without a URL';
    my $conf = "$t_dir/logs/ctl-$$";
    write_file($conf, "# here\nurl http://127.0.0.1:" . $m->port . "/admin\nuser a:b\n", 0644);
    ($status, $text) = $run->("--conf $conf end ann");
    like "$status $text", qr/^2 .*everybody can read it: chmod/, 'a password for all to read';
    chmod 0600, $conf;
    is_deeply [$run->("--conf $conf end ann")], [0, "ended: all sessions of ann\n"], 'by its file';
    ($status, $text) = $run->("--url http://127.0.0.1:@{[ $m->port ]}/unguarded end ann");
    like "$status $text", qr/^2 .*403 Forbidden: is this the URL/, 'forbidden';
};
