# A body that arrives slowly holds the lock of MemSessLock request, since its handler has begun; and
# the remedies that the README names.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Site;
use MemSess::Test;
use Time::HiRes qw(sleep time);

plan tests => 5;

my $modules = MemSess::Site::query('LIBEXECDIR');
my @pool = pool(2);
my @m = map { MemSess::Member->start(servers => \@pool, config => timing() . <<"END") } 1, 2;
LoadModule reqtimeout_module "$modules/mod_reqtimeout.so"
RequestReadTimeout body=0
MemSessLock request
MemSessLockWait 40s
<LocationMatch /upload>
    MemSessLock commit
</LocationMatch>
Listen 127.0.0.1:\${T_TLS_PORT}
<VirtualHost 127.0.0.1:\${T_TLS_PORT}>
    ScriptAlias /cgi/ "\${T_ROOT}/cgi-bin/"
    RequestReadTimeout body=1
</VirtualHost>
<Location /status>
    MemSess Off
    SetHandler memsess-status
</Location>
END

# A balancer that reads the whole body before it asks a member.
sub balancer { my ($config) = @_;
    return MemSess::Member->start(config => <<"END") }
MemSess Off
ProxyPass /cgi/ http://127.0.0.1:@{[ $m[0]->port ]}/cgi/
$config
END

# Sends one byte of a body of 40 to a port; the returned function sends the others and waits for the
# answer.
sub trickle {
    my ($c, $port, $target) = @_;
    my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port) or die $@;
    my $request = bless { socket => $s, client => $c, begun => time, answer => '' },
        'MemSess::Faults::Request';
    $s->syswrite(join "\r\n", "POST $target HTTP/1.1", 'Host: localhost', 'Connection: close',
        'Content-Length: 40', 'Cookie: memsess=' . $c->cookie, '', 'a');
    return sub { $s->syswrite('b' x 39); return $request->wait };
}

sub waits {
    return client($m[1])->get('/status?format=json')->body =~ /"locks":\s*\{[^}]*"waits":\s*(\d+)/ ? $1
        : die 'no status';
}

sub is_free {
    my ($c, $what) = @_;
    my ($r, $took);
    $took = seconds(sub { $r = $c->copy(server => $m[1])->get(say_via('lua', 'MemSess-Incr: n=1')) });
    is $r->status, 200, "$what: the next request is answered";
    cmp_ok $took, '<', 20, 'at once';
}

my $write = say_via('cgi', 'MemSess-Incr: n=10');

subtest 'a slow upload holds the lock' => sub {
    my $c = started($m[0], 'n=0');
    my $rest = trickle($c, $m[0]->port, $write);
    sleep 0.5;
    my $waits = waits();
    my $next = background($c->copy(server => $m[1]), say_via('lua', 'MemSess-Incr: n=1'));
    ok wait_for(20, sub { waits() > $waits }), 'the next request waits';
    is $rest->()->status, 200, 'the upload ends';
    is $next->wait->status, 200, 'and the next one has its turn';
    is data($c), 'n=11', 'after it';
};

subtest 'MemSessLock commit where uploads are' => sub {
    my $c = started($m[0], 'n=0');
    my $rest = trickle($c, $m[0]->port, say_via('cgi/upload', 'MemSess-Incr: n=10'));
    sleep 0.5;
    is_free($c, 'while it comes in');
    is $rest->()->status, 200, 'the upload ends';
    is data($c), 'n=11', 'and no change is lost';
};

subtest 'mod_reqtimeout' => sub {
    my $c = started($m[0], 'n=0');
    my $rest = trickle($c, $m[0]->tls_port, $write);
    sleep 0.3;
    my ($r, $took);
    $took = seconds(sub { $r = $c->copy(server => $m[1])->get(say_via('lua', 'MemSess-Incr: n=1')) });
    is $r->status, 200, 'the next one has its turn';
    cmp_ok $took, '<', 30, 'when the upload has taken too long';
};

for my $way (["SetEnv proxy-sendcl 1", 'a balancer that keeps bodies in a file'],
             [qq(LoadModule buffer_module "$modules/mod_buffer.so"\n)
              . qq(<Location /cgi/>\nSetInputFilter BUFFER\nBufferSize 1048576\n</Location>), 'a balancer with mod_buffer']) {
    my ($config, $what) = @$way;
    subtest $what => sub {
        my $balancer = balancer($config);
        my $c = started($m[0], 'n=0');
        my $rest = trickle($c, $balancer->port, $write);
        sleep 0.5;
        is_free($c, 'while it comes in');
        is $rest->()->status, 200, 'the upload ends';
        is data($c), 'n=11', 'both changes are there';
        $balancer->stop;
    };
}
