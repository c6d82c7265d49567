# The recipes' ways to name the user to a back end in a header of its own are safe from anything
# that a client sends, Connection included.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Log;
use MemSess::Site;
use MemSess::Test;

plan tests => 3;

my $docs = join '', map { MemSess::Log->new(MemSess::Site::top() . "/docs/$_.md")->text(0) }
    qw(recipes reference);
my @recipes = grep { /X-User/ } $docs =~ /^ *```apache\n(.*?)^ *```/gms;
my $memcached = MemSess::Memcached->start;

is scalar @recipes, 2, 'there are two recipes';
for my $recipe (@recipes) {
    my $m = MemSess::Member->start(servers => [$memcached],
        config => "AuthType MemSess\nRequire all granted\n" =~ s/^/    /gmr
            =~ s{(.*)}{<Location "/">\n$1</Location>\n}sr . $recipe);
    subtest $recipe =~ /(%\{.*?\})/ ? $1 : $recipe => sub {
        my $ann = started($m, 'user=ann');
        my $nobody = client($m);
        for my $sent ([], ['X-User: root'], ['x-user: root', 'X-USER: root'],
            ['Connection: close, X-User'], ['Connection: x-user, close'],
            ['Connection: X-USER', 'Connection: close'], ['Connection: close;X-User'],
            ['Connection: close X-User'], ["Connection: close,\tX-User"],
            ['Connection: close, X-User, X-User', 'X-User: root'],
            ['Connection: XX-UserUser, close, X-User'], ['Connection: X-X-UserUser, close'],
            ['Connection: close, "X-User"'], ['Connection: close, X-User;q=1'],
            ['Proxy-Connection: X-User', 'Connection: close'], ['Connection: close', 'TE: X-User'],
            ['Connection: close', 'Trailer: X-User'], ['Connection: close, Connection, X-User'],
            ['X_User: root'], ['X_User: root', 'Connection: close, X_User']) {
            my $name = join ' | ', @$sent;
            my $r = $ann->get('/proxy/echo', @$sent);
            is_deeply [$r->body =~ /^X[-_]User: *(.*?)\r?$/mig], ['ann'], "ann: $name" or diag $r->{raw};
            $r = $nobody->get('/proxy/echo', @$sent);
            is_deeply [$r->body =~ /^X[-_]User: *(.*?)\r?$/mig], [], "nobody: $name" or diag $r->{raw};
        }
        my $r = $ann->get('/proxy/echo', 'Connection: close, X-Private', 'X-Private: 1');
        is scalar($r->echoed('X-Private')), '', 'what else Connection names is still the client\'s own';
    };
    $m->stop;
}
