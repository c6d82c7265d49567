# clients/go/memsess.go, by HTTP and by FastCGI. Go is a large package: make -f Makefile.apxs examples
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use Cwd qw(getcwd);
use MemSess::Adapter;
use MemSess::Site;
use MemSess::Test;

plan tests => 21;

my $dir = MemSess::Site::top() . '/clients/go';
my $program = getcwd() . "/t/logs/go-$$";
$ENV{GOFLAGS} = '-buildvcs=false';
$ENV{GO111MODULE} = 'on';
is system("cd $dir && go build -o $program ./test"), 0, 'it builds';

my $app = MemSess::Adapter->start(command => sub { [$program, $_[0]] });
$app->behaves;
flashes($app->members);

# A header line of FastCGI has 8 kB at most, and so has an attribute.
$app = MemSess::Adapter->start(scheme => 'fcgi', attribute => 5000, command => sub { [$program, $_[0], 'fcgi'] });
$app->behaves;
my $said = `cd $dir && go test -vet=off . 2>&1`;
is $?, 0, 'clients/vectors.json' or diag $said;

sub flashes {
    my ($one, $two) = @_;
    my $c = client($one);
    $c->get('/app/flash?saved');
    is join('', map { $c->via($two)->get('/app/flashes')->body } 1 .. 2), '["saved"]null', 'a flash is told once';
}
