# clients/rack/memsess.rb, under puma.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter;
use MemSess::Site;
use MemSess::Test;

plan tests => 11;

my $dir = MemSess::Site::top() . '/clients/rack/test';
# puma takes no header above 80 kB.
my $app = MemSess::Adapter->start(largest => 75000, command => sub {
    ['puma', '-q', '-e', 'production', '-t', '8:8', '-b', "tcp://127.0.0.1:$_[0]", "$dir/app.ru"]
});
$app->behaves;
MemSess::Adapter::vectors('ruby', "$dir/vectors.rb");
