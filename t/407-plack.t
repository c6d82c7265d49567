# clients/plack, by HTTP under starman, and by FastCGI.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter;
use MemSess::Site;
use MemSess::Test;

plan tests => 20;

my $dir = MemSess::Site::top() . '/clients/plack';
my @app = ('-I', $dir, '-E', 'deployment', '-a', "$dir/test/app.psgi");
my $app = MemSess::Adapter->start(command => sub {
    ['starman', @app, '--preload-app', '--workers', 8, '--listen', "127.0.0.1:$_[0]"]
});
$app->behaves;

# A header line of FastCGI has 8 kB at most, and so has an attribute.
$app = MemSess::Adapter->start(scheme => 'fcgi', attribute => 5000, command => sub {
    ['plackup', @app, '-s', 'FCGI', '--nproc', 8, '--listen', "127.0.0.1:$_[0]"]
});
$app->behaves;
MemSess::Adapter::vectors($^X, '-I', $dir, "$dir/test/vectors.pl");
