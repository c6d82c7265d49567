# TRACE tells a client what the server or a back end received: neither our headers nor a session
# cookie may show, since pages must not see them.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::HTTP qw(request);
use MemSess::Site;
use MemSess::Test;

plan tests => 4;

my $memcached = MemSess::Memcached->start;
my $modules   = MemSess::Site::query('LIBEXECDIR');
my $m = MemSess::Member->start(servers => [$memcached], config => q(
    TraceEnable extended
    <LocationMatch /forward>
        MemSessCookieForward On
    </LocationMatch>
    <LocationMatch /off>
        MemSess Off
    </LocationMatch>
    <LocationMatch /shop>
        MemSessCookie shop
    </LocationMatch>
    <LocationMatch /members>
        Require memsess user ann
    </LocationMatch>
    RewriteEngine On
    RewriteRule ^/rewritten/(.*) http://127.0.0.1:${T_BACKEND}/$1 [P]
    RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
    RewriteRule ^/moved$ /elsewhere [R=301]
));
my $c = started($m, 'user=ann');
my $id = $c->cookie;

sub trace {
    my ($target, @more) = @_;
    return request($m->port, 'TRACE', $target, ["Cookie: x=1; memsess=$id; shop=$id; y=2", 'X-Sent: yes', @more]);
}

my @proxied = map { "/$_/echo" } qw(proxy proxy/../proxy rewritten);
for my $max ([], ['Max-Forwards: 0'], ['Max-Forwards: 1'], ['Max-Forwards: 10']) {
    subtest @$max ? $max->[0] : 'without Max-Forwards' => sub {
        for my $target ('/cgi/env', '/plain.txt', '/nothing', @proxied) {
            for my $where ('', qw(/forward /off /shop /members)) {
                my $r = trace("$target$where", @$max, 'MemSess-Set: forged');
                is $r->status, 200, "$target$where" or diag $r->{raw};
                like $r->body, qr/^x-sent: yes/mi, "$target$where: an echo" or diag $r->{raw};
                unlike $r->body, qr/memsess|\Q$id\E/i, "$target$where: of nothing of ours" or diag $r->{raw};
                like $r->body, qr/^cookie: x=1; y=2\r?$/mi, "$target$where: other cookies are there";
            }
        }
        my $other = request($m->port, 'TRACE', '/proxy/echo/members', ["Cookie: memsess=@{['A' x 24]}", @$max]);
        is $other->status, 403, 'Require holds' if !@$max || $max->[0] !~ / 0$/;
        unlike $other->body, qr/A{24}/, 'and an error tells nothing either';
        my $moved = trace('/moved', @$max);
        is $moved->status, 301, 'rules see the session';
        is data($c->copy), 'user=ann', 'which is as it was';
        is $c->get('/proxy/echo')->echoed('MemSess-Data') ? 1 : 0, 1, 'other methods go on as ever';
    };
}
$m->stop;
