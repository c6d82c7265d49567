# clients/php/memsess.php, with php-fpm behind mod_proxy_fcgi, and with mod_php.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter qw(json);
use MemSess::Process qw(wait_for);
use MemSess::Site;
use MemSess::Test;

plan tests => 18;

my $php = MemSess::Site::top() . '/clients/php';
my $fpm = (glob '/usr/sbin/php-fpm[0-9]*')[0] or die "php-fpm is missing\n";

sub said { MemSess::Adapter::said(@_) }

# The system's configuration of PHP is not used, so that PHP's defaults apply.
sub command {
    my ($port) = @_;
    my $conf = "$ENV{MEMSESS_T_ROOT}/logs/fpm-$port.conf";
    open my $out, '>', $conf or die "$conf: $!";
    print $out qq(
[global]
error_log = /proc/self/fd/2
log_limit = 8192
[www]
listen = 127.0.0.1:$port
pm = static
pm.max_children = 12
catch_workers_output = yes
decorate_workers_output = no
php_admin_value[auto_prepend_file] = $php/memsess.php
php_admin_flag[display_errors] = off
php_admin_flag[log_errors] = on
);
    close $out or die $!;
    return [$fpm, '-n', '-F', '-y', $conf];
}

MemSess::Adapter::vectors("$php/test/vectors.php");

my $app = MemSess::Adapter->start(command => \&command, scheme => 'fcgi', attribute => 5000,
    late => [qw(nested value)],
    config => qq(ProxyFCGISetEnvIf true SCRIPT_FILENAME "$php/test/app.php"\nMemSessMaxSize 400000\n));
my ($one, $two) = $app->members;

$app->behaves('empty objects' => 1);

subtest 'objects' => sub {
    my $c = client($one);
    said($c, 'cart?book');
    my $data = $c->get('/lua/env')->env('MEMSESS_DATA');
    like $data, qr/^object=%7B%22\+php%22%3A%22/, 'are stored as PHP writes them';
    is said($c->via($two), 'describe'), 'book 2024-01-02 03:04:05.678 same', 'and are what they were';
    said($c, 'cart?pen');
    is said($c->via($one), 'describe'), 'book,pen 2024-01-02 03:04:05.678 same', 'they can change';
};

subtest 'output before a change' => sub {
    my $c = client($one);
    is length said($c, 'buffered'), 50000, 'much output';
    is said($c, 'get?buffered'), 1, 'is no hindrance';
    is said($c, 'before'), 'streamed', 'what is changed before the response begins';
    is said($c, 'get?before'), 1, 'is stored';
    my $length = length $app->output;
    my $before = $c->cookie;
    $c->get('/app/late?renew');
    is $c->cookie, $before, 'a new id is too late';
    ok wait_for(20, sub { substr($app->output, $length) =~ /cannot have a new id after|regenerated after/ }), 'which is told';
};

subtest 'PHP\'s own cookie' => sub {
    my $r = client($one)->get('/app/add?n');
    is scalar(grep({ !/^memsess=/ } $r->header('Set-Cookie'))), 0, 'is not sent';
    is said(client($one), 'strict'), '10', 'session.use_strict_mode is on, session.use_cookies off';
    my $c = client($one);
    said($c, 'add?n');
    isnt said($c, 'foreign'), 'anothersid', 'an id that the application chose is not taken';
    is $c->get('/app/get?n', 'X: y')->body, 1, 'the session is the client\'s';
    is client($one)->get('/app/get?n&PHPSESSID=' . said($c, 'id'))->body, 'null', 'none by a URL';
    is said($c, 'create-id'), 'other', 'session_create_id() makes one';
};

subtest 'closed, opened, thrown away' => sub {
    my $c = client($one);
    is said($c, 'reopen'), '{"a":1}', 'opened again it is as it was closed';
    MemSess::Adapter::dump_is($c, { a => 1, b => 2 }, 'both parts are stored');
    said($c, 'abort');
    is said($c, 'reset'), 1, 'session_reset()';
    is said($c, 'read-only'), '', 'read_and_close';
    MemSess::Adapter::dump_is($c, { a => 1, b => 2 }, 'nothing else');
    said($c, 'shutdown');
    is said($c, 'get?shutdown'), 1, 'a change in a function at shutdown';
    is $c->get('/app/fatal')->status, 500, 'an error of the application';
    is said($c, 'get?fatal'), 1, 'leaves what it has written, as PHP does';
};

subtest 'too long for FastCGI' => sub {
    my $c = client($one);
    said($c, 'long?8000');
    my $length = length $app->output;
    is $c->get('/app/long?9000')->status, 500, 'an error';
    ok wait_for(20, sub { substr($app->output, $length) =~ /attribute long is too long.*responsefieldsize/s }), 'that says so';
    is length said($c, 'get?long'), 8002, 'the session is as it was';
};

subtest 'the application catches what is unavailable' => sub {
    $_->pause for @{ $app->{servers} };
    my $r = client($one)->set_cookie('A' x 24)->get('/app/caught');
    is $r->status, 503, '503 all the same';
    is $r->body, 'please come again', 'with its own words';
    $_->resume for @{ $app->{servers} };
};

subtest 'mod_php' => sub {
    my $module = "$ENV{MEMSESS_T_ROOT}/modules/.build/libphp.so";
    my $m = MemSess::Member->start(servers => $app->{servers}, mpm => 'prefork', config => qq(
        LoadModule php_module "$module"
        MemSess Off
        <LocationMatch "^/(app|lua)/">
            MemSess On
            MemSessExpose env
        </LocationMatch>
        AliasMatch ^/app/ "$php/test/app.php"
        <Directory "$php/test">
            Require all granted
            SetHandler application/x-httpd-php
        </Directory>
        PHPINIDir "$php"
        php_admin_value auto_prepend_file "$php/memsess.php"
        php_admin_flag log_errors on
        php_admin_flag display_errors off
        MemSessMaxSize 400000
        MemSessRetry 300ms
    ));
    my $c = client($m);
    is said($c, 'sapi'), 'apache2handler', 'it is';
    said($c, 'nested') for 1 .. 2;
    is said($c, 'get?cart'), '{"n":2}', 'a session';
    MemSess::Adapter::put($c, { big => 'x' x 100000 });
    is length said($c, 'get?big'), 100002, '100 kB in one attribute';
    said($c, 'cart?book');
    is said($c, 'describe'), 'book 2024-01-02 03:04:05.678 same', 'objects';
    my $before = $c->copy;
    said($c, 'login?ann');
    isnt $c->cookie, $before->cookie, 'a new id';
    is said($before, 'get?user'), 'null', 'the old one is dead';
    is said($c, 'get?user'), '"ann"', 'a user';
    said($c, 'late?value');
    is said($c, 'get?late'), 'null', 'a change that came too late';
    ok wait_for(20, sub { $m->log->text =~ /session was changed after/ }), 'is an error';
    said($c, 'logout');
    is $c->cookie, undef, 'the end';
    $m->stop;
};
