# An outage lets nobody in who would be kept out by name, however the negation is written; and keeps
# nobody out who is let in for another reason.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use File::Path qw(make_path);
use IO::Socket::INET;
use MemSess::Site;
use MemSess::Test;

plan tests => 7;

# Each section lets ann in, but not bob, who is banned: its name, and its content.
my $included = "$ENV{MEMSESS_T_ROOT}/logs/included-$$.conf";
open my $out, '>', $included or die "$included: $!";
print $out "Require memsess banned 1\n";
close $out;

sub all { my ($line) = @_; return "<RequireAll>\nRequire all granted\n$line\n</RequireAll>" }
sub none { my ($line) = @_; return all("<RequireNone>\n$line\n</RequireNone>") }

my %memsess = (
    plain      => all('Require not memsess banned 1'),
    spaces     => all('Require    not   memsess   banned 1'),
    tab        => all("Require not\tmemsess banned 1"),
    tabs       => all("Require\tnot\tmemsess\tbanned\t1"),
    quoted     => all('Require "not" memsess banned 1'),
    quoted_all => all(q(Require 'not' "memsess" 'banned' "1")),
    joined     => all('Require "not"memsess banned 1'),
    case       => all('Require NOT memsess banned 1'),
    lower      => all('require not memsess banned 1'),
    folded     => all("Require \\\n not \\\n memsess banned 1"),
    escaped    => all('Require n\\' . "\n" . 'ot memsess banned 1'),
    none       => none('Require memsess banned 1'),
    lower_none => none('Require memsess banned 1') =~ s/RequireNone/requirenone/gr,
    none_any   => none("<RequireAny>\nRequire memsess banned 1\nRequire memsess banned 2\n"
        . '</RequireAny>'),
    none_all   => none("<RequireAll>\nRequire memsess banned 1\nRequire all granted\n"
        . '</RequireAll>'),
    any_none   => "<RequireAny>\n" . none('Require memsess banned 1') . "\n</RequireAny>",
    include    => none("Include $included"),
    macro      => all('Use NotBanned'),
    if         => "<If \"true\">\n" . all("Require not\tmemsess banned 1") . "\n</If>",
    alias      => all('Require not banned-ones'),
    merged     => "AuthMerging And\n" . all('Require "not" memsess banned 1'),
);
my %user = (
    user      => all('Require not user bob'),
    user_tab  => all("Require \"not\"\tuser bob"),
    group     => all("Require not group bad"),
    one_of    => none("Require user bert\nRequire user bob"),
    user_any  => none("<RequireAny>\nRequire group worse\nRequire user bob\n</RequireAny>"),
    inherited => '',
);
# Sections that let a client in for a reason that does not depend on the session.
my %granted = (
    granted    => 'Require all granted',
    other_user => "<RequireAny>\nRequire user bob\nRequire local\n</RequireAny>",
    other      => "<RequireAny>\nRequire memsess banned 0\nRequire local\n</RequireAny>",
    not_ip     => all('Require not ip 192.0.2.1'),
);
my %needed = (
    valid    => 'Require valid-user',
    needed   => 'Require memsess name ann bob',
    together => "<RequireAll>\nRequire valid-user\nRequire memsess name ann bob\n</RequireAll>",
);

my $base = qq(
    <AuthzProviderAlias memsess banned-ones "banned 1">
    </AuthzProviderAlias>
    <Macro NotBanned>
        Require not memsess banned 1
    </Macro>
    <Location />
        MemSessExpose none
        AuthGroupFile "\${T_DIR}/groups"
    </Location>
    LuaMapHandler ^/(?:none|ours|lock)/\\w+/(\\w+)\$ "\${T_ROOT}/lua/\$1.lua"
    MemSessUserAttr name
    MemSessOnError anonymous
    MemSessLockWait 300ms
    MemSessRetry 300ms
);
sub section {
    my ($where, $type, $lines) = @_;
    return "<Location /$where/>\nAuthType $type\n$lines\n</Location>\n";
}
my $config = join "\n", $base,
    (map { section("none/$_", 'None', $memsess{$_}), section("ours/$_", 'MemSess', $memsess{$_}) }
        sort keys %memsess),
    section('ours/inherited', 'MemSess', all('Require not user bob')),
    "<Location /ours/inherited/env>\nMemSessExpose env\n</Location>",
    (map { section("ours/$_", 'MemSess', $user{$_}) } grep { $_ ne 'inherited' } sort keys %user),
    (map { section("none/$_", 'None', $granted{$_}), section("ours/$_", 'MemSess', $granted{$_}) }
        sort keys %granted),
    (map { section("ours/$_", 'MemSess', $needed{$_}) } sort keys %needed),
    section('none/needed', 'None', $needed{needed}),
    section('none/expr', 'None', 'Require expr "%{reqenv:MEMSESS_STATE} != \'unavailable\''
        . ' && %{reqenv:MEMSESS_ATTR_banned} != \'1\'"') =~ s/\n/\nMemSessExpose env\n/r,
    "<LocationMatch ^/lock/>\nMemSessLock request\nMemSessExpose env\n</LocationMatch>",
    section('lock/plain', 'None', $memsess{tab}),
    section('lock/user', 'MemSess', $user{user_tab}),
    qq(Alias /htaccess/ "\${T_DIR}/htaccess/"
    <Directory "\${T_DIR}/htaccess">
        AllowOverride AuthConfig
    </Directory>);

my $backend = IO::Socket::INET->new(LocalHost => '127.0.0.1', Listen => 8) or die $@;
$config .= "\nProxyPass /lock/slow/ http://127.0.0.1:" . $backend->sockport . "/\n";

my $modules = MemSess::Site::query('LIBEXECDIR');
my $memcached = MemSess::Memcached->start;
my $m = MemSess::Member->new(servers => [$memcached],
    config => join '', (map { "LoadModule ${_}_module \"$modules/mod_$_.so\"\n" }
        'macro', 'authz_groupfile'), $config);
write_file($m->dir . '/groups', "bad: bob\nworse: bert\n");
my %htaccess = (memsess => $memsess{tab}, user => "AuthType MemSess\n$user{user_tab}");
for my $name (keys %htaccess) {
    make_path($m->dir . "/htaccess/$name");
    write_file($m->dir . "/htaccess/$name/.htaccess", "$htaccess{$name}\n");
    write_file($m->dir . "/htaccess/$name/page", "let in\n");
}
$m->start;

sub write_file {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print $file $text;
    close $file;
}

my $ann = started($m, 'name=ann');
my $bob = started($m, 'name=bob&banned=1');
my @negated = ((map { ("/none/$_/env", "/ours/$_/env") } sort keys %memsess),
    (map { "/ours/$_/env" } sort keys %user), (map { "/htaccess/$_/page" } sort keys %htaccess));
my @granted = map { ("/none/$_/env", "/ours/$_/env") } sort keys %granted;
my @needed = ('/none/needed/env', map { "/ours/$_/env" } sort keys %needed);

subtest 'while the store is there' => sub {
    for my $page (@negated) {
        is $ann->get($page)->status, 200, "$page: ann";
        like $bob->get($page)->status, qr/^40[13]$/, "$page: not bob";
    }
    is $ann->get($_)->status, 200, $_ for @granted, @needed, '/none/expr/env';
    is $bob->get('/none/expr/env')->status, 403, '/none/expr: not bob';
};

subtest 'an outage that one makes by a slow request of his own' => sub {
    my $slow = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $m->port) or die $@;
    print $slow "GET /lock/slow/ HTTP/1.1\r\nHost: localhost\r\nCookie: memsess=", $bob->cookie,
        "\r\n\r\n";
    my $held = $backend->accept or die 'nobody comes';
    for my $page ('/lock/plain/env', '/lock/user/env') {
        is $bob->get($page)->status, 503, "$page: bob";
        is $ann->get($page)->status, 200, "$page: ann";
    }
    close $held;
    close $slow;
};

subtest 'an outage' => sub {
    $memcached->kill9;
    $bob->get('/none/plain/env') for 1 .. 3;
    for my $page (@negated, @needed) {
        my $r = $bob->get($page);
        is $r->status, 503, $page or diag $r->{raw};
        like scalar($r->header('Retry-After')), qr/^[1-9]\d*$/, "$page: Retry-After";
        is scalar($r->header('Set-Cookie')), '', "$page: the cookie stays";
    }
};

subtest 'Require expr, as SECURITY.md has it' => sub {
    is $bob->get('/none/expr/env')->status, 403, 'not let in';
};

subtest 'who is let in for another reason' => sub {
    is $bob->get($_)->status, 200, $_ for @granted;
};

subtest 'nobody in particular' => sub {
    is client($m)->get($_)->status, 200, "$_: no store is asked without a cookie"
        for @negated, @granted;
};

subtest 'refused' => sub {
    my ($status, $message) = MemSess::Member->check(
        "<Location /a>\nRequire not memsess a 1\n</Location>");
    isnt $status, 0, 'what httpd refuses is refused';
    like $message, qr/no effect/, 'in its words';
};
