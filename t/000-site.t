# The server is up with the module loaded, and every fixture answers.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 7;

my $c = client(server());

is $c->get('/plain.txt')->body, "plain\n", 'a file';
is $c->get('/cgi/env')->env('REQUEST_URI'), '/cgi/env', 'CGI: env';
for my $handler (qw(cgi proxy lua)) {
    my $r = $c->get(say_via($handler, 'Status: 202 Accepted', 'X-Said: yes', "\nbody"));
    is_deeply [$r->status, $r->header('X-Said'), $r->body], [202, 'yes', 'body'], "$handler: say";
}
like $c->get('/proxy/echo', 'X-Sent: yes')->echoed('X-Sent'), qr/^yes$/, 'proxy: echo';

my $pool = shared_memcached();
$pool->set('some key', 'x') if 0;
$pool->set('harness', "va\r\nlue");
is $pool->get('harness'), "va\r\nlue", 'memcached';
$pool->delete('harness');
