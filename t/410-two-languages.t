# Applications in several languages share one session and one log-in, as docs/adapters.md says:
# Flask shares it with Rack, and with PHP.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use JSON::PP;
use MemSess::Adapter qw(json);
use MemSess::Site;
use MemSess::Test;

plan tests => 6;

my $clients = MemSess::Site::top() . '/clients';
my $rack = MemSess::Adapter->application(command => sub {
    ['puma', '-q', '-e', 'production', '-t', '8:8', '-b', "tcp://127.0.0.1:$_[0]", "$clients/rack/test/app.ru"]
});
my $php = MemSess::Adapter->application(command => \&fpm, scheme => 'fcgi');
my $flask = MemSess::Adapter->start(command => MemSess::Adapter::gunicorn("$clients/flask/test", 'app:app'),
    config => qq(
    <Location "/rack">
        MemSess On
        MemSessExpose headers
        MemSessWriteback On
        ProxyPass "http://127.0.0.1:@{[ $rack->port ]}/app"
    </Location>
    <Location "/php">
        MemSess On
        MemSessExpose env
        MemSessWriteback On
        ProxyPass "fcgi://127.0.0.1:@{[ $php->port ]}/app"
        ProxyFCGISetEnvIf true SCRIPT_FILENAME "$clients/php/test/app.php"
    </Location>
    <LocationMatch "^/(lua|cgi)/">
        AuthType MemSess
        Require memsess user ann
    </LocationMatch>
));
my ($one, $two) = $flask->members;

sub fpm {
    my ($port) = @_;
    my $conf = "$ENV{MEMSESS_T_ROOT}/logs/two-$port.conf";
    open my $out, '>', $conf or die "$conf: $!";
    print $out "[global]\nerror_log = /proc/self/fd/2\n[www]\nlisten = 127.0.0.1:$port\npm = static\npm.max_children = 2\n",
        "php_admin_value[auto_prepend_file] = $clients/php/memsess.php\n";
    close $out or die $!;
    return [(glob '/usr/sbin/php-fpm[0-9]*')[0] // die("php-fpm is missing\n"), '-n', '-F', '-y', $conf];
}

sub said {
    my ($c, $target) = @_;
    my $r = $c->get("/$target");
    is $r->status, 200, $target or diag $r->body;
    return $r->body;
}

sub put {
    my ($c, $where, $values) = @_;
    is $c->post("/$where/put", json($values), 'Content-Type: application/json')->status, 200, "put in $where";
}

my $values = {
    text => "J\x{fc}rgen \x{2603} \x{1f600}", word => '42', number => 42, real => 0.5, truth => JSON::PP::true,
    list => [1, [undef, { n => 0 }], 'true'], 'a key' => { 'b c' => ["\x{e9}"] }, looks => { ' b' => 'no bytes' }, '..' => '',
};

# The path app is Flask's.
for (['app', 'rack'], ['rack', 'app'], ['app', 'php'], ['php', 'app']) {
    my ($here, $there) = @$_;
    subtest "a log-in in $here is one in $there" => sub {
        my $c = client($one);
        is $c->get('/lua/env')->status, 401, 'nobody';
        put($c, $here, $values);
        my $before = $c->cookie;
        said($c, "$here/login?ann");
        isnt $c->cookie, $before, 'a new id';
        is said($c->via($two), "$there/get?user"), '"ann"', 'the user, on the other member';
        is $c->get('/cgi/env')->env('REMOTE_USER'), 'ann', 'as httpd knows her';
        my $got = JSON::PP->new->utf8->decode(said($c, "$there/dump"));
        is json($got), json({ %$values, user => 'ann' }), 'the data';
        said($c, "$here/bytes");
        is said($c, "$there/is-bytes"), 'same', 'bytes';
        said($c, "$there/nested");
        said($c, "$here/nested");
        is said($c, "$there/get?cart"), '{"n":2}', 'both change one value';
        my $old = $c->copy;
        said($c, "$there/logout");
        is $old->get('/lua/env')->status, 401, 'log-out in the other';
        is said($old->via($one), "$here/get?user"), 'null', 'is one here';
    };
}

for my $other (qw(rack php)) {
    subtest "what $other does not know is kept" => sub {
        my $c = client($one);
        said($c, 'app/tagged');
        said($c, 'app/login?ann');
        my ($before) = $c->get('/lua/env')->env('MEMSESS_DATA');
        said($c, "$other/add?visits");
        is $c->get('/lua/env')->env('MEMSESS_DATA'), "$before&visits=1", 'as it was';
        is said($c, 'app/is-tagged'), q([(1, ('a', b'\xff')), Markup('<b>'), {' t': [1]}]), 'a tuple, bytes, markup';
    };
}
