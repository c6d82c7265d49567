# MemSessLocalCache: a member's copies of one virtual host's pool are never shown by a host with
# another pool, however alike they are otherwise.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 3;

my ($one, $two) = map { MemSess::Memcached->start } 1, 2;
my ($first, $second) = map { $_->address } $one, $two;
my $secret = private_file('cache-pools.secret', 'x' x 40);

my %pool = (
    plain  => "MemSessServers $first",
    other  => "MemSessServers $second",
    named  => "MemSessServers $first?name=a",
    alike  => "MemSessServers $second?name=a",
    both   => "MemSessServers $first $second",
    turned => "MemSessServers $second $first",
    open   => "MemSessServers $first\nMemSessSeal Off",
);
my $m = MemSess::Member->start(config => join "\n",
    "MemSessSecret file:$secret", 'MemSessNamespace shared', 'MemSessLocalCache 1M max-age=60s',
    map { "<VirtualHost *>\nServerName $_.example\n$pool{$_}\n</VirtualHost>" } sort keys %pool);

sub begun { return started($m, "at=$_[0]", host => "$_[0].example") }

# What another virtual host shows of that session, after the session's own host has cached it.
sub shown {
    my ($c, $host) = @_;
    is state($c), 'active', 'in the cache of its own';
    my $r = $c->copy(host => "$host.example")->get('/lua/env');
    return join ' ', $r->env('MEMSESS_STATE'), $r->env('MEMSESS_DATA') // '-';
}

subtest 'another pool' => sub {
    is shown(begun(@$_[0]), @$_[1]), 'unknown -', "@$_"
        for ['plain', 'other'], ['other', 'plain'], ['named', 'alike'],
            ['alike', 'named'];
};

subtest 'the same pool' => sub {
    is shown(begun(@$_[0]), @$_[1]), "active at=@$_[0]", "@$_"
        for ['both', 'turned'], ['turned', 'both'];
};

subtest 'a host that believes what is not sealed' => sub {
    is shown(begun(@$_[0]), @$_[1]), 'unknown -', "@$_" for ['open', 'plain'], ['plain', 'open'];
};
