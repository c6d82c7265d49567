# Secrets: where they come from, what is refused, where they never show; and the cookies that they
# sign.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Site;
use MemSess::Test;
use Time::HiRes qw(time);

plan tests => 12;

my $dir = "$ENV{MEMSESS_T_ROOT}/logs/200-$$";
mkdir $dir or die "$dir: $!";

sub file { my ($name, @how) = @_; return file_with("$dir/$name", @how) }

sub program { my ($name, $script) = @_; return file($name, "#!/bin/sh\n$script\n", 0700) }

my $secret = 'TheFirstSecret-' . 'x' x 32;
my $other  = 'TheOtherSecret-' . 'y' x 32;
my $first  = file('first', "$secret\n");
my $second = file('second', $other, 0640);

# Sources that are refused, and what the message says about each.
my @bad = (
    ["file:$dir/missing",                       qr/does not exist/],
    ["file:$dir",                               qr/directory/],
    ['file:' . file('open', $secret, 0644),     qr/chmod/],
    ['file:' . file('written', $secret, 0602),  qr/chmod/],
    ['file:' . file('empty', "\n\n"),           qr/openssl rand/],
    ['file:' . file('short', 's' x 31 . "\n"),  qr/31.*32.*openssl rand/],
    ['file:' . file('locked', $secret, 0),      qr/root/],
    ["exec:$dir/missing",                       qr/cannot be run/],
    ["exec:$first",                             qr/chmod/],
);

sub says {
    my ($message, $source, $why) = @_;
    like $message, qr/MemSessSecret \Q$source\E: /, 'directive and value are named';
    like $message, $why, 'and what is wrong';
    unlike $message, qr/TheFirst|TheOther/, 'but not the secret';
}

subtest 'refused by configtest' => sub {
    for my $case (@bad, ['nonsense', qr{file:/}], ["env:$first", qr{file:/}],
        ['file:relative', qr/slash/]) {
        my ($status, $message) = MemSess::Member->check("MemSessSecret $case->[0]");
        isnt $status, 0, "refused: $case->[0]";
        says($message, @$case);
    }
    for my $case (['fails', "echo $secret; exit 3", qr/status 3/],
        ['silent', 'exit 0', qr/printed nothing/]) {
        my $source = 'exec:' . program(@$case[0, 1]);
        my ($status, $message) = MemSess::Member->check("MemSessSecret $source");
        isnt $status, 0, "refused: $source";
        says($message, $source, $case->[2]);
    }
    my ($status, $message) = MemSess::Member->check("MemSessSecret file:$first file:$dir/missing");
    isnt $status, 0, 'a second one that is missing';
    says($message, "file:$dir/missing", qr/does not exist/);
    ($status, $message) =
        MemSess::Member->check("<VirtualHost *>\nMemSessSecret file:$dir/missing\n</VirtualHost>");
    isnt $status, 0, 'in a virtual host';
};

subtest 'accepted by configtest' => sub {
    my $ran = program('ran', "echo $secret; touch $dir/it-ran");
    for my $good ("file:$first", "file:$second", "file:$first file:$second", "exec:$ran",
        qq("exec:$ran an argument")) {
        my ($status, $message) = MemSess::Member->check("MemSessSecret $good");
        is $status, 0, "accepted: $good" or diag $message;
    }
    ok -e "$dir/it-ran", 'a program is run, since nothing else tells whether it works';
};

my @pool = (MemSess::Memcached->start);
my $config = "MemSessSecret file:$first";

sub refuses_to_start {
    my ($source, $why) = @_;
    my $started = eval { MemSess::Member->start(servers => \@pool,
        config => qq(MemSessSecret "$source"))->stop; 1 };
    my $message = $@;
    ok !$started, "httpd does not start: $source";
    says($message, $source, $why);
}

subtest 'httpd does not start without its secret' => sub {
    refuses_to_start(@$_) for @bad;
    refuses_to_start('exec:' . program('fails', "echo $secret; exit 3"), qr/status 3/);
    refuses_to_start('exec:' . program('silent', 'exit 0'),              qr/printed nothing/);
    refuses_to_start('exec:' . program('brief', 'echo brief'),           qr/5 bytes/);
    my $begun = time;
    refuses_to_start('exec:' . program('hangs', 'exec sleep 1000'), qr/10000 ms/);
    cmp_ok time - $begun, '<', 45, 'nor does it wait for ever';
};

my $m = MemSess::Member->start(servers => \@pool, config => qq(
    $config
    <LocationMatch /named>
        MemSessCookie other
    </LocationMatch>
    <VirtualHost *>
        ServerName heir.test
        ScriptAlias /cgi/ "\${T_ROOT}/cgi-bin/"
        LuaMapHandler ^/lua/(\\w+)\$ "\${T_ROOT}/lua/\$1.lua"
    </VirtualHost>
    <VirtualHost *>
        ServerName own.test
        ScriptAlias /cgi/ "\${T_ROOT}/cgi-bin/"
        LuaMapHandler ^/lua/(\\w+)\$ "\${T_ROOT}/lua/\$1.lua"
        MemSessSecret file:$second
    </VirtualHost>
    <VirtualHost *>
        ServerName spaced.test
        ScriptAlias /cgi/ "\${T_ROOT}/cgi-bin/"
        LuaMapHandler ^/lua/(\\w+)\$ "\${T_ROOT}/lua/\$1.lua"
        MemSessNamespace other
    </VirtualHost>
));
my $printing = program('prints', qq(test "\$1" = "an argument" && echo $secret));
my $executed = MemSess::Member->start(servers => \@pool,
    config => qq(MemSessSecret "exec:$printing 'an argument'"));

subtest 'a signed cookie' => sub {
    my $c = started($m, 'a=1');
    like $c->cookie, qr/^[A-Za-z0-9_-]{24}\.[A-Za-z0-9_-]{22,}$/, 'ID.MAC';
    is data($c), 'a=1', 'is ours';
    set_via($c, 'a=2');
    is data($c->via($executed)), 'a=2',
        'and the other member\'s, who got the secret from a program';
    $c->via($m)->get(say_via('cgi', 'MemSess-Renew: 1'));
    like $c->cookie, qr/^[A-Za-z0-9_-]{24}\.[A-Za-z0-9_-]{22,}$/, 'so is the next one';
    is data($c), 'a=2', 'after Renew';
};

# A cookie with another value is refused: no store is asked, the cookie stays, and so does the
# session.
sub is_refused {
    my ($value, $what, @how) = @_;
    my $r;
    my $traffic = $pool[0]->traffic(sub { $r = client($m,
        @how)->set_cookie($value)->get('/lua/env') });
    is $r->env('MEMSESS_STATE'), 'invalid', "$what: invalid";
    is $traffic, 0, "$what: no store traffic";
    ok leaves_cookie($r), "$what: the cookie stays" or diag $r->{raw};
}

subtest 'forged' => sub {
    my $c = started($m, 'a=1');
    my ($id, $mac) = split /\./, $c->cookie;
    my ($other_id) = split /\./, started($m, 'a=2')->cookie;
    my $made_up = join '', map { ('A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_')[rand 64] } 1 .. 24;
    is_refused($id, 'unsigned');
    is_refused($made_up, 'made up');
    is_refused("$made_up.$mac", "another's MAC");
    is_refused("$other_id.$mac", "another session's MAC");
    is_refused("$id.7.$mac", 'a revision that was not signed');
    is_refused($_, "spelled $_") for "$id.", "$id.$mac.", ".$mac", "$id$mac", "$id..$mac",
        "$id.$mac$mac", "$id.$mac=", "$id.$mac.$mac",
        "$id.0.$mac", "$mac.$id", "\L$id\E.$mac";
    is data($c), 'a=1', 'the session is as it was';
};

subtest 'truncated, and changed in one character' => sub {
    my $cookie = started($m, 'a=1')->cookie;
    is_refused(substr($cookie, 0, $_), "$_ characters") for 1 .. length($cookie) - 1;
    for my $at (0 .. length($cookie) - 1) {
        my $changed = $cookie;
        substr($changed, $at, 1) = substr($cookie, $at, 1) eq 'A' ? 'B' : 'A';
        is_refused($changed, "character $at");
    }
};

subtest 'a flood of them' => sub {
    my $r;
    my $cookie = started($m, 'a=1')->cookie;
    my $traffic = $pool[0]->traffic(sub {
        $r = client($m)->get('/lua/env', 'Cookie: ' . join '; ',
            map { 'memsess=' . substr($cookie, 0, -4) . sprintf '%04d', $_ } 1 .. 1000);
    });
    is $r->env('MEMSESS_STATE'), 'invalid', 'a thousand in one request';
    is $traffic, 0, 'no store traffic';
};

subtest 'the first that verifies wins' => sub {
    my ($a, $b) = map { started($m, "who=$_")->cookie } 'a', 'b';
    my $r = client($m)->get('/lua/env',
        "Cookie: memsess=$a.x; memsess=" . substr($a, 0, 24) . "; memsess=$b; memsess=$a");
    is $r->env('MEMSESS_DATA'), 'who=b', 'b';
    ok !$r->header('Set-Cookie'), 'no cookie is set';
};

subtest 'a cookie is of one secret, one namespace, one name' => sub {
    my $c = started($m, 'a=1');
    is data($c->copy(host => 'heir.test')), 'a=1', 'a virtual host inherits the secret';
    is_refused($c->cookie, 'another secret', host => 'own.test');
    is_refused($c->cookie, 'another namespace', host => 'spaced.test');
    is_refused(started($m, 'a=1', host => 'own.test')->cookie, 'the other way');
    my $r = client($m, name => 'other')->set_cookie($c->cookie)->get('/cgi/env/named');
    is $r->env('MEMSESS_STATE'), 'invalid', 'another name';
    my $plain = MemSess::Member->start(servers => \@pool);
    is state($c->copy(server => $plain)), 'invalid', 'signed, where nothing is';
    is_refused(started($plain, 'a=1')->cookie, 'unsigned, from where nothing is signed');
    $plain->stop;
};

subtest 'without writing, still no traffic and no cookie' => sub {
    my $r;
    is $pool[0]->traffic(sub { $r = client($m)->get('/lua/env') }), 0, 'no traffic';
    is $r->env('MEMSESS_STATE'), 'none', 'none';
    ok !$r->header('Set-Cookie'), 'no cookie';
};

subtest 'a secret is read again by a graceful restart' => sub {
    file('changing', $secret);
    my $changing = MemSess::Member->start(servers => \@pool,
        config => "MemSessSecret file:$dir/changing");
    my $c = started($changing, 'a=1');
    $changing->graceful;
    is data($c), 'a=1', 'the same again';
    file('changing', $other);
    is data($c), 'a=1', 'not before';
    $changing->graceful;
    ok wait_for(20, sub { state($c->copy) eq 'invalid' }), 'another one';
    is state(started($changing, 'a=2')), 'active', 'signs from now on';
    $changing->stop;
};

subtest 'shown nowhere' => sub {
    my $httpd = MemSess::Site::httpd();
    my $info = 'LoadModule info_module ' . MemSess::Site::query('LIBEXECDIR') . '/mod_info.so';
    my $dump = qx('$httpd' -C '$info' -D DUMP_CONFIG -f '$m->{conf}' 2>&1);
    like $dump, qr/MemSessSecret file:\Q$first/, 'the source is in a dump of the configuration';
    my $environment = client($m)->get('/cgi/env')->body;
    my $logs = join '', map { $_->log->text . $_->output } $m, $executed;
    for my $text ($dump, $environment, $logs) {
        unlike $text, qr/TheFirst|TheOther/, 'the secret is not';
    }
    chmod 0, $first;
    is system("'$httpd' -D DUMP_VHOSTS -f '$m->{conf}' >/dev/null 2>&1"), 0,
        'nor read, where the configuration is only shown';
    chmod 0600, $first;
};
