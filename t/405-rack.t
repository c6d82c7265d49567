# clients/rack/memsess.rb, under puma: alone, in Sinatra and in Rails.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Adapter;
use MemSess::Site;
use MemSess::Test;

plan tests => 14;

my $dir = MemSess::Site::top() . '/clients/rack/test';
# puma accepts no header above 80 kB, and no more than 112 kB in all.
sub puma {
    my ($app) = @_;
    return sub { ['puma', '-q', '-e', 'production', '-t', '8:8', '-b', "tcp://127.0.0.1:$_[0]", "$dir/$app"] };
}

my $app = MemSess::Adapter->start(largest => 75000, command => puma('app.ru'));
$app->behaves(null => 1);
$app->stop;
MemSess::Adapter::vectors('ruby', "$dir/vectors.rb");

# This configuration comes from docs/limits.md.
open my $limits, '<', MemSess::Site::top() . '/docs/limits.md' or die $!;
my ($parts) = do { local $/; <$limits> } =~ /^<Location.*?\n(.*?)^<\/Location>/ms;
$app = MemSess::Adapter->start(largest => 110_000, attribute => 10_000, command => puma('app.ru'),
    config => qq(<LocationMatch "^/(app|narrow)/">\n$parts\n</LocationMatch>));
subtest '110 kB in parts' => sub { $app->large($app->members) };
$app->stop;

$app = MemSess::Adapter->start(command => puma('frameworks.ru'));
my ($one, $two) = $app->members;

sub says {
    my ($c, $target, $wanted, $what) = @_;
    my $r = $c->get("/app/$target");
    is $r->body, $wanted, $what // $target or diag substr $r->{raw}, 0, 500;
    is_deeply [$r->leaks], [], 'none of our headers leaves';
    return $r;
}

subtest 'Sinatra' => sub {
    my $c = client($one);
    says($c, 'sinatra/counter', 1);
    says($c->via($two), 'sinatra/counter', 2);
    says($c, 'sinatra/value?value=%C3%BC', qq(value = "\xc3\xbc"));
    says($c->via($one), 'sinatra/value', qq(value = "\xc3\xbc"));
    says($c, 'sinatra/late', "begun\n", 'a change after the response began ends it');
    says($c, 'sinatra/count', 2, 'and changes nothing');
    $c->get('/app/sinatra/clear');
    says($c->via($two), 'sinatra/count', 0, 'clear');
    unlike join('', $c->get('/app/sinatra/counter')->lines), qr/rack\.session/, 'no cookie of its own';
};

subtest 'Rails' => sub {
    my $c = client($one);
    says($c, 'rails/home', 'user: nil notice: nil', 'nobody');
    my $token = $c->get('/app/rails/token')->body;
    my $post = sub { $c->post('/app/rails/cart', $_[0], 'Content-Type: application/x-www-form-urlencoded') };
    is $post->('item=book&authenticity_token=' . escape($token))->body, 'book', 'the token is in the session';
    is $post->('item=pen&authenticity_token=' . escape($token))->body, 'book pen', 'an array within it grows';
    isnt $post->('item=pen&authenticity_token=x')->status, 200, 'another token is refused';
    my $before = $c->copy;
    is $c->get('/app/rails/login?user=7')->status, 302, 'reset_session, and a log-in';
    says($c->via($two), 'rails/home', 'user: 7 notice: "Logged in"', 'the flash');
    says($c->via($one), 'rails/home', 'user: 7 notice: nil', 'is told once');
    says($before, 'rails/home', 'user: nil notice: nil', 'the session before is over');
    $c->get('/app/rails/logout');
    is $c->cookie, undef, 'the end';
};
