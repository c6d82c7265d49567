# clients/python: memsess_asgi.py with Starlette under uvicorn, memsess_wsgi.py under gunicorn and
# as CGI; and what all adapters in Python have in common.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter qw(json);
use MemSess::Process qw(wait_for);
use MemSess::Site;
use MemSess::Test;

plan tests => 22;

my $clients = MemSess::Site::top() . '/clients';

sub said { MemSess::Adapter::said(@_) }

my $said = `$clients/python/test/test_vectors.py 2>&1`;
is $?, 0, 'clients/vectors.json holds for WSGI, Flask and what they share' or diag $said;

# uvicorn accepts no request head above 64 kB, and closes a connection after an error.
my $asgi = MemSess::Adapter->start(largest => 60000, worker => 'disablereuse=on',
    command => sub { ["$clients/python/test/asgi_app.py", $_[0]] });

my ($one) = $asgi->members;

subtest 'Starlette\'s own test' => sub {
    my $c = client($one);
    is said($c, 'view_session'), '{"session":{}}', 'nothing at first';
    is $c->post('/app/update_session', '{"some":"data"}')->body, '{"session":{"some":"data"}}', 'set';
    is said($c, 'view_session'), '{"session":{"some":"data"}}', 'there';
    is $c->post('/app/clear_session', '')->body, '{"session":{}}', 'cleared';
    is said($c, 'view_session'), '{"session":{}}', 'gone';
};

subtest 'a background task' => sub {
    my $length = length $asgi->output;
    my $c = client($one);
    said($c, 'afterwards');
    ok wait_for(20, sub { substr($asgi->output, $length) =~ /session was changed after/ }), 'comes too late';
};

$asgi->behaves;
$_->stop for $asgi->members, $asgi;

my $wsgi = MemSess::Adapter->start(command => MemSess::Adapter::gunicorn("$clients/python/test", 'wsgi_app:app'),
    config => qq(
    ScriptAlias /wsgi $clients/python/test/wsgi_app.py
    <Location /wsgi>
        MemSess On
        MemSessWriteback On
    </Location>
    <Directory $clients/python/test>
        Options +ExecCGI
        Require all granted
    </Directory>
));
$wsgi->behaves;

subtest 'WSGI by CGI, in parts' => sub {
    my $c = client(($wsgi->members)[0]);
    my %all = map { ("part$_" => chr(96 + $_) x 7000) } 1 .. 15;
    is $c->post('/wsgi/put', json(\%all), 'Content-Type: application/json')->status, 200, 'put';
    is $c->get('/cgi/env')->env('MEMSESS_DATA_PARTS'), 7, 'it is long';
    is $c->get('/wsgi/dump')->body, json(\%all), 'all is there';
    $c->get('/wsgi/login?ann');
    is $c->get('/wsgi/get?user')->body, '"ann"', 'log-in';
    $c->get('/wsgi/logout');
    is $c->cookie, undef, 'log-out';
};
