# From one section to another, in every way that httpd knows: the section in which the request ends
# decides what is seen and what may be written.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use File::Path qw(make_path);
use MemSess::Client;
use MemSess::HTTP qw(request);
use MemSess::Site;
use MemSess::Test;

# What each section says beside MemSess On; and what its program may write: into which session, and
# which of cart and evil. All of them list every directive that any of them has.
my %section = (
    wide    => ['',                                                 memsess => qw(cart evil)],
    narrow  => ["MemSessExposeKeys cart\nMemSessWritebackKeys cart*", memsess => qw(cart)],
    other   => ['MemSessCookie other',                              other => qw(cart evil)],
    off     => ['MemSess Off', undef],
    none    => ["MemSessExpose none\nMemSessWriteback Off", undef],
    headers => ["MemSessExpose headers\nMemSessExposeKeys cart\nMemSessWritebackKeys cart",
                memsess => qw(cart)],
    forward => ["MemSessCookieForward On\nMemSessWriteback Off", undef],
    user    => ["MemSessExpose none\nMemSessWritebackKeys evil\nAuthType MemSess", memsess => 'evil'],
);
my @sections = sort keys %section;
plan tests => 8 + @sections * @sections;

my $memcached = MemSess::Memcached->start;
my $m = MemSess::Member->new(servers => [$memcached]);
my $w = $m->dir . '/w';

sub place {
    my ($path, $text, $mode) = @_;
    my ($dir) = "$w/$path" =~ m{^(.*)/};
    make_path($dir);
    open my $out, '>', "$w/$path" or die "$w/$path: $!";
    print $out $text;
    close $out;
    chmod $mode // 0644, "$w/$path" or die $!;
}

# Writes, and prints what it sees. The program needs no process for each variable.
my $program = <<'END';
#!/bin/sh
printf 'Content-Type: text/plain\nMemSess-Set: cart=9&evil=1\n\n'
env
END
place('bin/program', $program, 0755);

# The ways: how a request that begins in section FROM ends in section TO.
my %way = (
    'ErrorDocument'     => sub { "/missing/from_$_[0]/err_$_[1]" },
    'DirectoryIndex'    => sub { "/w/from_$_[0]/dir_$_[1]/" },
    'MultiViews'        => sub { "/w/from_$_[0]/page_$_[1]" },
    'a type map'        => sub { "/w/from_$_[0]/map_$_[1].var" },
    'FallbackResource'  => sub { "/w/from_$_[0]/fallback_$_[1]" },
    'mod_rewrite PT'    => sub { "/pt/from_$_[0]/$_[1]" },
    'mod_rewrite in a directory' => sub { "/w/from_$_[0]/rewrite_$_[1]" },
    'mod_actions'       => sub { "/action/from_$_[0]/act_$_[1]" },
    'SSI include'       => sub { "/w/from_$_[0]/include_$_[1].shtml" },
    'a local redirect'  => sub { "/w/from_$_[0]/go_$_[1].cgi" },
    'two of them'       => sub { "/w/from_$_[0]/twice_$_[1].cgi" },
    'ErrorDocument of a local redirect' => sub { "/w/from_$_[0]/lost_$_[1].cgi" },
);
my @subrequests = ('SSI include');

my $modules = MemSess::Site::query('LIBEXECDIR');
my $config = qq(
    LoadModule negotiation_module "$modules/mod_negotiation.so"
) . q(
    Alias /w/ "${T_DIR}/w/"
    ScriptAlias /program "${T_DIR}/w/bin/program"
    <Directory "${T_DIR}/w">
        Options +FollowSymLinks +ExecCGI +Includes +MultiViews
        Require all granted
        MultiviewsMatch Any
        AddHandler cgi-script .cgi
        AddHandler type-map .var
        RewriteEngine On
        RewriteRule ^from_\w+/rewrite_(\w+)$ /program/to_$1 [L]
    </Directory>
    RewriteEngine On
    RewriteRule ^/pt/from_\w+/(\w+)$ /program/to_$1 [PT]
    Alias /read/other/ "${T_ROOT}/htdocs/"
    Alias /read/ "${T_ROOT}/htdocs/"
    Header always set X-Data "%{MEMSESS_DATA}e"
    LuaMapHandler ^/olua/(\w+)$ "${T_ROOT}/lua/$1.lua"
    <LocationMatch "^/(?:olua|read/other)/">
        MemSessCookie other
    </LocationMatch>
);
for my $t (@sections) {
    $config .= qq(
        <LocationMatch "/err_$t\$">
            ErrorDocument 404 /program/to_$t
        </LocationMatch>
        <LocationMatch "/dir_$t/">
            DirectoryIndex to_$t.cgi
        </LocationMatch>
        <LocationMatch "/fallback_$t\$">
            FallbackResource /program/to_$t
        </LocationMatch>
        Action act_$t /program/to_$t virtual
        <LocationMatch "^/action/from_\\w+/act_$t\$">
            SetHandler act_$t
        </LocationMatch>
        AddLanguage x-$t .to_$t
    );
}
# The section in which a request ends comes last, so it counts.
for my $end (qw(from to)) {
    for my $t (@sections) {
        $config .= qq(
            <LocationMatch "\\b${end}_$t\\b">
                MemSess On
                MemSessCookie memsess
                MemSessCookieForward Off
                MemSessExpose env
            </LocationMatch>
            <LocationMatch "\\b${end}_$t\\b">
                MemSessExposeKeys *
                MemSessWriteback On
                MemSessWritebackKeys *
                AuthType None
                Require all granted
            </LocationMatch>
            <LocationMatch "\\b${end}_$t\\b">
                $section{$t}[0]
            </LocationMatch>
        );
        next if $end eq 'to';
        for my $to (@sections) {
            my $from = "from_$t";
            place("$from/dir_$to/to_$to.cgi", $program, 0755);
            place("$from/page_$to.to_$to.cgi", $program, 0755);
            place("$from/to_$to.cgi", $program, 0755);
            place("$from/map_$to.var", "URI: to_$to.cgi\nContent-Type: text/plain\n");
            place("$from/include_$to.shtml", qq(<!--#include virtual="/program/to_$to" -->\n));
            place("$from/nested_$to.shtml", qq(<!--#include virtual="/w/env.to_$to.shtml" -->\n));
            place("env.to_$to.shtml", qq(<!--#printenv -->\n));
            my $go = sub { qq(#!/bin/sh\nprintf 'MemSess-Set: cart=5&evil=5\\nLocation: $_[0]\\n\\n'\n) };
            place("$from/go_$to.cgi", $go->("/program/to_$to"), 0755);
            place("$from/twice_$to.cgi", $go->("/w/from_wide/go_$to.cgi"), 0755);
            place("$from/lost_$to.cgi", $go->("/missing/from_wide/err_$to"), 0755);
        }
    }
}
$m->{config} = $config;
$m->start;

# One browser has both sessions.
my %cookie;
for (['/lua/say', 'memsess', 'user=ann&secret=x&cart=1'], ['/olua/say', 'other', 'user=bob&cart=1']) {
    my ($say, $name, $form) = @$_;
    my $c = MemSess::Client->new($m, name => $name);
    $c->get("$say?" . escape("MemSess-Set: $form\nContent-Type: text/plain\n\nsaid"));
    $cookie{$name} = $c->cookie // die "no cookie $name";
}
my $both = "Cookie: x=1; memsess=$cookie{memsess}; other=$cookie{other}";
sub get { return request($m->port, 'GET', $_[0], [$both, @_[1 .. $#_]]) }

# Everything that a program saw of any session or user.
sub seen {
    my ($r) = @_;
    # How long ago the log-in was does not matter.
    return [sort grep { s/MEMSESS_LOGIN_AGE=\K\d+$/N/ || /MEMSESS_(?!T_)|COOKIE|REMOTE_USER|AUTH_TYPE/ }
        split /\n/, $r->body];
}

my %path = (memsess => '/read/plain.txt', other => '/read/other/plain.txt');
sub stored { return { map { $_ => scalar get($path{$_})->header('X-Data') } sort keys %path } }

sub reset_both {
    for (['/lua/say'], ['/olua/say']) {
        get("$_->[0]?" . escape("MemSess-Unset: evil\nMemSess-Set: cart=1\n"
            . "Content-Type: text/plain\n\nsaid"));
    }
}

my %start = (memsess => 'cart=1&secret=x&user=ann', other => 'cart=1&user=bob');

# What both sessions contain after programs of these sections have written, each with its values.
sub after {
    my %new = (memsess => { secret => 'x', user => 'ann', cart => 1 },
               other   => { user => 'bob', cart => 1 });
    for (@_) {
        my ($section, %value) = @$_;
        my (undef, $name, @may) = @{ $section{$section} };
        $new{$name}{$_} = $value{$_} for $name ? @may : ();
    }
    return { map { my $s = $new{$_}; $_ => join '&', map { "$_=$s->{$_}" } sort keys %$s }
        keys %new };
}

my %direct;
subtest 'what the sections say' => sub {
    for my $to (@sections) {
        $direct{$to} = seen(get("/program/to_$to"));
        reset_both();
    }
    my $seen = sub { join "\n", @{ $direct{$_[0]} } };
    like $seen->('wide'), qr/^MEMSESS_ATTR_secret=x$/m, 'wide';
    like $seen->('narrow'), qr/^MEMSESS_DATA=cart=1$/m, 'narrow';
    like $seen->('other'), qr/^MEMSESS_ATTR_user=bob$/m, 'other';
    is $seen->($_), 'HTTP_COOKIE=x=1', $_ for qw(off none);
    like $seen->('headers'), qr/^HTTP_MEMSESS_DATA=cart=1$/m, 'headers';
    unlike $seen->('headers'), qr/^MEMSESS/m, 'and no environment';
    like $seen->('forward'), qr/^HTTP_COOKIE=x=1; memsess=\Q$cookie{memsess}\E; other=/m, 'forward';
    like $seen->('user'), qr/^REMOTE_USER=ann$/m, 'user';
    is_deeply stored(), \%start, 'the sessions';
};

for my $from (@sections) {
    for my $to (@sections) {
        subtest "from $from to $to" => sub {
            for my $way (sort keys %way) {
                my $r = get($way{$way}->($from, $to));
                # An environment that was made from another one keeps what does not belong to a
                # session.
                my $seen = [grep { !/^REDIRECT_(?!.*(?:MEMSESS|COOKIE|REMOTE_USER|AUTH))/ } @{ seen($r) }];
                s/^MEMSESS_LOGIN_AGE=\K\d+$/N/ for @$seen;
                is_deeply $seen, $direct{$to}, "$way: what is seen" or diag substr $r->body, 0, 2000;
                my @wrote = ([$to, cart => 9, evil => 1]);
                @wrote = () if grep { $_ eq $way } @subrequests;
                unshift @wrote, [$from, cart => 5, evil => 5] if $way =~ /local|two/;
                splice @wrote, 1, 0, ['wide', cart => 5, evil => 5] if $way eq 'two of them';
                my $stored = stored();
                is_deeply $stored, after(@wrote), "$way: what is written";
                reset_both() if grep { $stored->{$_} ne $start{$_} } keys %start;
            }
            my $r = get("/w/from_$from/nested_$to.shtml");
            my @names = sort map { /^((?:REDIRECT_)*(?:HTTP_)?(?:MEMSESS_(?!T_)|COOKIE|REMOTE_USER|AUTH_TYPE)\w*)=/
                ? $1 : () } split /\n/, $r->body;
            is_deeply \@names, [map { /^(\w+)=/ } @{ $direct{$to} }], 'a page in a page'
                or diag substr $r->body, 0, 2000;
        };
    }
}

subtest 'proxied by mod_rewrite: the section that the request is in' => sub {
    my $p = MemSess::Member->start(servers => [$memcached], config => q(
        RewriteEngine On
        RewriteRule ^/(narrow|off|other)/(\w+)$ http://127.0.0.1:${T_BACKEND}/$2 [P]
        <Location /narrow/>
            MemSessExposeKeys cart
            MemSessWritebackKeys cart*
        </Location>
        <Location /other/>
            MemSessCookie other
        </Location>
        <Location /off/>
            MemSess Off
        </Location>
    ));
    my $c = started($p, 'user=ann&cart=1');
    my $ours = sub { [sort grep { /^(?:memsess-(?!id)|cookie)/i } split /\r\n/, $c->get($_[0])->body] };
    is_deeply $ours->('/narrow/echo'), ['MemSess-Data: cart=1', 'MemSess-State: active'], 'narrow';
    is_deeply $ours->('/other/echo'), ['MemSess-State: none'], 'another cookie';
    is_deeply $ours->('/off/echo'), [], 'off';
    for my $where (qw(off other narrow)) {
        $c->get("/$where/say?" . escape("MemSess-Set: user=admin&cart=2\n\nx"));
        is data($c), $where eq 'narrow' ? 'cart=2&user=ann' : 'cart=1&user=ann', "$where: written";
    }
    $p->stop;
};

subtest 'what is malformed for one session changes no other one' => sub {
    place('from_wide/bad.cgi', "#!/bin/sh\nprintf 'MemSess-Set: cart=7\\nLocation: /w/to_other.cgi\\n\\n'\n",
        0755);
    place('to_other.cgi', "#!/bin/sh\nprintf 'Content-Type: text/plain\\nMemSess-Set: a=%%zz\\n\\n'\n", 0755);
    is get('/w/from_wide/bad.cgi')->status, 500, 'refused';
    is_deeply stored(), \%start, 'and nothing is written';
};
$m->stop;

# By files, as the owner of a directory would do it, and with what Require says about either
# session.
my $n = MemSess::Member->new(servers => [$memcached], config => qq(
    LoadModule negotiation_module "$modules/mod_negotiation.so"
) . q(
    Alias /d/ "${T_DIR}/d/"
    <Directory "${T_DIR}/d">
        Options +FollowSymLinks +ExecCGI +MultiViews
        MultiviewsMatch Any
        AddHandler cgi-script .cgi
        DirectoryIndex index.cgi
        Require all granted
    </Directory>
    <Files "index.cgi">
        MemSess Off
    </Files>
    <Files "page.cgi">
        MemSessExposeKeys cart
        MemSessWritebackKeys cart
    </Files>
    <Files "quiet.cgi">
        MemSess Off
        RequestHeader set X-Fixup "%{MEMSESS_DATA}e"
    </Files>
    <Directory "${T_DIR}/d/other">
        MemSessCookie other
    </Directory>
    <Location /other>
        MemSessCookie other Path=/other Max-Age=100
        Require memsess user bob
    </Location>
    ScriptAlias /other/ "${T_ROOT}/cgi-bin/"
    <Location /same>
        MemSessCookie memsess Path=/same Max-Age=200
        MemSessWritebackKeys cart
    </Location>
    ScriptAlias /same/ "${T_ROOT}/cgi-bin/"
    <Location /strict>
        Require memsess user ann
    </Location>
    ScriptAlias /strict/ "${T_ROOT}/cgi-bin/"
));
mkdir $n->dir . "/$_" for qw(d d/other);
for (qw(index.cgi page.cgi quiet.cgi other/shown.cgi)) {
    my $path = $n->dir . "/d/$_";
    open my $out, '>', $path or die "$path: $!";
    print $out $program;
    close $out;
    chmod 0755, $path or die $!;
}
$n->start;

subtest 'by <Files>' => sub {
    my $c = started($n, 'user=ann&secret=x&cart=1');
    is_deeply seen($c->get('/d/')), [], 'DirectoryIndex: one that is Off sees nothing';
    is data($c), 'cart=1&secret=x&user=ann', 'and writes nothing';
    my $r = $c->get('/d/page');
    is_deeply [grep { !/_(?:ID|STATE)=/ } @{ seen($r) }],
        ['HTTP_MEMSESS_DATA=cart=1', 'MEMSESS_ATTR_cart=1', 'MEMSESS_DATA=cart=1',
         'MEMSESS_LOGIN_AGE=N'],
        'MultiViews: a narrow one sees what it may';
    is data($c), 'cart=9&secret=x&user=ann', 'and writes what it may';
    is $c->get('/d/quiet')->env('HTTP_X_FIXUP'), '(null)', 'nor does a module see more before it';
};

subtest 'by <Directory>, after what <Location> says was seen' => sub {
    my %c = map { $_ => started($n, "user=$_")->cookie } qw(ann bob);
    my $r = request($n->port, 'GET', '/d/other/shown.cgi', ["Cookie: memsess=$c{ann}; other=$c{bob}"]);
    is $r->env('MEMSESS_DATA'), 'user=bob', 'the last one\'s session';
    is_deeply [sort $r->body =~ /^MEMSESS_(?:ATTR|DATA)\w*=(.*)/mg], ['bob', 'user=bob'], 'alone'
        or diag $r->body;
};

sub go { my ($from, $to, @lines) = @_; return "$from/say?" . escape(join "\n", @lines, "Location: $to", '', '') }

subtest 'Require is of the last session' => sub {
    my $ann = started($n, 'user=ann');
    my $bob = started($n, 'user=bob');
    my $other = MemSess::Client->new($n, name => 'other');
    $other->set_cookie($bob->cookie);
    my $with = sub { my ($memsess, $cookie, $target) = @_;
        return request($n->port, 'GET', $target, ["Cookie: memsess=$memsess; other=$cookie"]) };
    my ($a, $b) = ($ann->cookie, $bob->cookie);
    is $with->($a, $b, go('/cgi', '/other/env'))->status, 200, 'bob by the other cookie: let in';
    is $with->($b, $a, go('/cgi', '/other/env'))->status, 403, 'bob by the first: not';
    is $with->($a, $b, go('/other', '/strict/env'))->status, 200, 'ann by the first: let in';
    is $with->($b, $b, go('/other', '/strict/env'))->status, 403, 'ann by none: not';
};

subtest 'the cookie is that of the section that wrote' => sub {
    my $set = sub { [grep { /^(?:memsess|other)=/ } $_[0]->header('Set-Cookie')] };
    my $c = client($n);
    my $of = $set->($c->get(go('/same', '/cgi/env', 'MemSess-Set: cart=1&evil=1')));
    is scalar @$of, 1, 'one';
    like $of->[0], qr{Path=/same\b}, 'with its path';
    like $of->[0], qr{Max-Age=200\b}, 'and its age';
    is data($c), 'cart=1', 'and what it may write';
    $of = $set->(client($n)->get(go('/cgi', '/same/say?' . escape("MemSess-Set: cart=2\n\nx"),
        'MemSess-Set: evil=1')));
    like $of->[0], qr{Path=/same\b}, 'where both wrote: of the last one';
    $of = $set->(client($n)->get(go('/cgi', '/same/env', 'MemSess-Set: evil=1')));
    unlike $of->[0], qr{Path=/same}, 'not of one that did not';
    $of = [sort @{ $set->(client($n)->get(go('/same', '/cgi/say?' . escape(
        "Location: /other-is-missing\nMemSess-Set: x=1\n\n"), 'MemSess-Set: cart=1'))) }];
    is scalar @$of, 1, 'one cookie for one session';
};
subtest 'and so are the verbs' => sub {
    my $c = started($n, 'cart=1&user=ann');
    $c->get(go('/same', '/cgi/env', 'MemSess-Destroy: 1', 'MemSess-Set: cart=2'));
    is data($c), 'cart=2&user=ann', 'a narrow one ends nothing by way of a wide one';
    my $old = $c->copy;
    $c->get(go('/cgi', '/same/say?' . escape("MemSess-Set: cart=3\n\nx"), 'MemSess-Renew: 1'));
    isnt $c->cookie, $old->cookie, 'a wide one may, by way of a narrow one';
    is data($c), 'cart=3&user=ann', 'which sets what it may';
};
$n->stop;
