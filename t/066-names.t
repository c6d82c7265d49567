# Servers by name: with several addresses, with a changed address, with none.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Process qw(free_port);
use MemSess::Test;
use Time::HiRes qw(time);

plan tests => 5;

my $dir  = "$ENV{MEMSESS_T_ROOT}/logs";
my $stub = "$dir/names-$$.so";
system('cc', '-shared', '-fPIC', '-Wall', '-Werror', '-o', $stub, 't/preload/names.c', '-ldl') == 0
    or die 'no stub for names';

# What httpd is told about names from now on: file, name => [addresses]...
sub names {
    my ($file, %names) = @_;
    open my $out, '>', "$file.new" or die $!;
    print $out "$_ @{ $names{$_} }\n" for sort keys %names;
    close $out or die $!;
    rename "$file.new", $file or die $!;
}

my $files = 0;

# Runs the code while names lead to these addresses.
sub with_names {
    my ($names, $code) = @_;
    my $file = sprintf '%s/names-%d-%d', $dir, $$, ++$files;
    names($file, %$names);
    local $ENV{MEMSESS_T_NAMES} = $file;
    local $ENV{LD_PRELOAD} = join ' ', grep { defined } $ENV{LD_PRELOAD}, $stub;
    return ($code->(), $file);
}

my $config = timing() . q(
    <Location /status>
        SetHandler memsess-status
    </Location>
);

sub warnings_of {
    my ($text) = client($_[0])->get('/status?format=json')->body =~ /"warnings": \[(.*?)\]/s;
    return $text;
}

# Two memcacheds that differ only in their address.
sub twins {
    my $one = MemSess::Memcached->start;
    my $two = MemSess::Memcached->start(host => '127.0.0.2');
    $two->stop;
    $two->{port} = $one->port;
    $two->restart;
    return ($one, $two);
}

subtest 'configtest' => sub {
    my %names = ('misspelt.test' => [], 'one.test' => ['127.0.0.1'],
        'some.test' => ['127.0.0.2', '127.0.0.1'], 'slow.test' => ['hang']);
    my $check = sub {
        my ($directives) = @_;
        my $begun = time;
        my ($code, $message) = with_names(\%names, sub { MemSess::Member->check($directives) });
        is $code, 0, "$directives: no error" or diag $message;
        cmp_ok time - $begun, '<', 30, 'it does not wait for ever';
        return $message;
    };
    like $check->('MemSessServers misspelt.test'), qr/misspelt\.test does not resolve.*misspelt/,
        'misspelt';
    like $check->("MemSessServers one.test\n<VirtualHost *>\nMemSessServers misspelt.test:1 one.test:2\n"
        . '</VirtualHost>'), qr/misspelt\.test does not resolve/, 'misspelt, in a virtual host';
    unlike $check->('MemSessServers one.test:1 one.test:2 127.0.0.1:3'), qr/the name/, 'none is wrong';
    like $check->('MemSessServers some.test'),
        qr/some\.test has several addresses.*stands for one server.*127\.0\.0\.1/, 'several addresses';
    my $message = $check->('MemSessServers slow.test misspelt.test');
    like $message, qr/slow\.test could not be looked up yet/, 'a name server that is silent';
    like $message, qr/misspelt\.test does not resolve/, 'hides no other trouble';
};

subtest 'a name that does not resolve, at start' => sub {
    my $memcached = MemSess::Memcached->start;
    my $port = $memcached->port;
    my ($m, $file) = with_names({ 'late.test' => [] }, sub {
        MemSess::Member->start(servers => ["late.test:$port"], config => $config)
    });
    ok $m->log->wait_for(qr/late\.test does not resolve/), 'the log says so';
    ok wait_for(20, sub { warnings_of($m) =~ /late\.test does not resolve/ }), 'and the status';
    is client($m)->get('/cgi/env')->status, 200, 'it serves';
    is client($m)->get(say_via('lua', 'MemSess-Set: a=1'))->status, 503, 'but keeps no session';
    names($file, 'late.test' => ['127.0.0.1']);
    ok wait_for(20, sub { client($m)->get(say_via('lua', 'MemSess-Set: a=1'))->status == 200 }),
        'until it does';
    $m->stop;
    $memcached->stop;
};

subtest 'several addresses: members choose alike' => sub {
    my @twins = twins();
    my $port  = $twins[0]->port;
    my @members = map {
        my ($m) = with_names({ 'headless.test' => $_ }, sub {
            MemSess::Member->start(servers => ["headless.test:$port"], config => $config)
        });
        $m;
    } ['127.0.0.2', '127.0.0.1'], ['127.0.0.1', '127.0.0.2'];
    for my $n (1 .. 4) {
        my $c = started($members[ $n % 2 ], "n=$n");
        is data($c->via($members[ 1 - $n % 2 ])), "n=$n", 'made on one, read on the other';
    }
    for my $m (@members) {
        ok $m->log->wait_for(qr/headless\.test has several addresses.*stands for one server/),
            'the log warns';
        my @lines = $m->log->text =~ /has several addresses/g;
        cmp_ok scalar @lines, '<=', 2, 'once or so';
        ok wait_for(20, sub { warnings_of($m) =~ /headless\.test has several addresses/ }),
            'and the status';
        like client($m)->get('/status?format=prometheus')->body,
            qr/^memsess_warning\{kind="name"\} 1$/m, 'for machines too';
        $m->stop;
    }
    $_->stop for @twins;
};

# In another virtual host, a server with that name is away, so its name is looked up at every
# MemSessRetry, not only twice a minute.
for my $copies (1, 2) {
    subtest "another address, while the old server still answers: $copies copies" => sub {
        my @twins  = twins();
        my @beside = pool($copies - 1);
        my ($port, $nobody) = ($twins[0]->port, free_port());
        my (@members, @files);
        for (1, 2) {
            my ($m, $file) = with_names({ 'moving.test' => ['127.0.0.1'] }, sub {
                MemSess::Member->start(servers => ["moving.test:$port", @beside], config => "$config
                    <VirtualHost *>
                        ServerName well.test
                        LuaMapHandler ^/lua/(\\w+)\$ \"\${T_ROOT}/lua/\$1.lua\"
                    </VirtualHost>
                    <VirtualHost *>
                        ServerName away.test
                        LuaMapHandler ^/lua/(\\w+)\$ \"\${T_ROOT}/lua/\$1.lua\"
                        MemSessServers moving.test:$nobody
                    </VirtualHost>")
            });
            push @members, $m;
            push @files, $file;
        }
        my $all_away = sub {
            client($_, host => 'away.test')->get(say_via('lua', 'MemSess-Set: a=1'))
                for map { ($_) x 10 } @members;
        };
        my @c = map { started($members[ $_ % 2 ], "n=$_", host => 'well.test') } 1 .. 8;
        my @wrong;
        my $changed = sub {
            my ($m, $change) = @_;
            for my $c (@c) {
                my $r = $c->via($m)->get(say_via('lua', "MemSess-Set: $change"));
                push @wrong, $r->status if $r->status != 200;
            }
        };
        # The name moves there, and back again.
        for (['127.0.0.2', @twins], ['127.0.0.1', reverse @twins]) {
            my ($address, $from, $to) = @$_;
            names($_, 'moving.test' => [$address]) for @files;
            for my $m (@members) {
                ok wait_for(20, sub {
                    $all_away->();
                    $to->during(sub { $changed->($m, 'more=1') }, 'cmd_set');
                }), "$address: followed";
            }
            ok $from->answers, 'though the old one still answers';
            settle();
            is $from->writes(sub { $changed->($_, 'more=2') for @members }), 0,
                'which is left';
        }
        is_deeply \@wrong, [], 'no request fails';
        if ($copies == 2) {
            is data($c[ $_ - 1 ]), "more=2&n=$_", "session $_ is there" for 1 .. 8;
        }
        for my $m (@members) {
            ok $m->log->text =~ /moving\.test:$port: its name now resolves to another address/,
                'the log says so';
            ok $m->log->text !~ /moving\.test:$port is down/, 'it was never down';
            $m->stop;
        }
        $_->stop for @twins, @beside;
    };
}

unlink $stub;
