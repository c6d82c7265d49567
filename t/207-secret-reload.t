# A source of secrets fails while httpd reads its configuration again: the server goes on with the
# secrets that it had, and says so until the source is good again. At a start it is refused.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Site;
use MemSess::Status;
use MemSess::Test;

plan tests => 11;

my $dir = "$ENV{MEMSESS_T_ROOT}/logs/207-$$";
mkdir $dir or die "$dir: $!";

sub file { my ($name, @how) = @_; return file_with("$dir/$name", @how) }

# A script that hangs until it is ended; meanwhile the test lets time pass.
my $hangs = "touch $dir/hangs-\$\$; exec sleep 1000";

sub hurried {
    my ($code) = @_;
    return hurrying(1, sub { grep { /(\d+)$/ && kill 0, $1 } glob "$dir/hangs-*" }, $code);
}

sub program { my ($name, $script) = @_; return file($name, "#!/bin/sh\n$script\n", 0700) }

my $secret = 'TheFirstSecret-' . 'x' x 32;
my $other  = 'TheOtherSecret-' . 'y' x 32;
my @pool   = pool(2);
my $config = timing() . q(
    <Location "/status">
        SetHandler memsess-status
    </Location>
);

sub member { MemSess::Member->start(servers => \@pool, config => "$config\n$_[0]") }

# The new configuration is in force everywhere once the old processes are gone.
sub reload {
    my ($m, $how) = @_;
    my %before = map { $_ => 1 } children_of($m);
    my $mark = $m->log->mark;
    $m->$how;
    wait_for(60, sub { !grep { $before{$_} } children_of($m) }) or die 'old processes do not end';
    return $m->log->text($mark);
}

sub warnings_of { join "\n", @{ status($_[0])->{warnings} } }

sub warns_by_metric {
    my ($family) = grep { $_->[0] eq 'memsess_warning' }
        metrics(client($_[0])->get('/status?format=prometheus')->body);
    return (map { $_->[2] } grep { $_->[1]{kind} eq 'secret' } @{ $family->[3] })[0] == 1;
}

# What users and operators see once a source has failed: the old session, a new one, and the log and
# the status, which name the source and its directive.
sub goes_on {
    my ($m, $c, $log, $named, $why, $what) = @_;
    is data($c), 'a=1', "$what: the session of before is there";
    is data(started($m, 'a=2')), 'a=2', "$what: new ones too";
    my ($line) = grep { /memsess:error/ } split /\n/, $log;
    like $line // '', qr/\Q$named\E.*: $why.*; the .* stays? in use/, "$what: the error log";
    like warnings_of($m), qr/^\Q$named\E: $why/m, "$what: the status";
    unlike "$log " . warnings_of($m), qr/TheFirst|TheOther/, "$what: no secret is shown";
}

sub is_silent { is warnings_of($_[0]), '', "$_[1]: no warning" }

subtest 'a file' => sub {
    my $path = file('file', $secret);
    my $m = member("MemSessSecret file:$path");
    my $c = started($m, 'a=1');
    my @ways = (
        ['removed',          sub { unlink $path },                    qr/does not exist/],
        ['short',            sub { file('file', 's' x 31) },          qr/is too short, 31 bytes/],
        ['empty',            sub { file('file', "\n") },              qr/holds nothing/],
        ['readable by all',  sub { file('file', $secret, 0644) },     qr/is readable.*by all/],
        ['unreadable',       sub { file('file', $secret, 0) },        qr/cannot be read/],
        ['a directory',      sub { unlink $path; mkdir $path },       qr/is a directory/],
    );
    for my $way (@ways) {
        my ($what, $break, $why) = @$way;
        $break->();
        for my $how (qw(graceful restart)) {
            goes_on($m, $c, reload($m, $how), "MemSessSecret file:$path", $why, "$what, $how");
        }
        ok warns_by_metric($m), "$what: the form for Prometheus";
        like client($m)->get('/status')->body, qr/<li>MemSessSecret file:\Q$path/, 'and the page';
        rmdir $path;
        file('file', $secret, 0640);
        unlike reload($m, 'graceful'), qr/memsess:error|secret rotated/, "$what: mended";
        is_silent($m, "$what, mended");
        is data($c), 'a=1', "$what, mended: the session is there";
    }
    $m->stop;
};

subtest 'a program' => sub {
    my $good = qq(test "\$1" = token=42 && echo $secret);
    my $path = program('program', $good);
    my $m = member(qq(MemSessSecret "exec:$path token=42"));
    my $c = started($m, 'a=1');
    my @ways = (
        ['fails',      sub { program('program', "echo $other; exit 3") }, qr/failed with status 3/],
        ['is silent',  sub { program('program', 'exit 0') },              qr/printed nothing/],
        ['is brief',   sub { program('program', 'echo brief') },          qr/is too short, 5 bytes/],
        ['dies',       sub { program('program', 'kill -9 $$') },          qr/was ended by signal 9/],
        ['is gone',    sub { unlink $path },                              qr/cannot be run/],
        ['hangs',      sub { program('program', $hangs) },
            qr/did not end within 10000 ms/],
    );
    for my $way (@ways) {
        my ($what, $break, $why) = @$way;
        $break->();
        for my $how (qw(graceful restart)) {
            my $begun = now;
            my $log = hurried(sub { reload($m, $how) });
            cmp_ok now - $begun, '<', 25, "$what, $how: not for ever";
            like $log, qr/MemSessSecret exec:\Q$path\E token=42: $why/, "$what, $how: the log";
            like warnings_of($m), qr/^MemSessSecret exec:\Q$path\E: $why/,
                "$what, $how: the status, without arguments";
            is data($c), 'a=1', "$what, $how: the session of before is there";
            is data(started($m, 'a=2')), 'a=2', "$what, $how: new ones too";
        }
        program('program', $good);
        reload($m, 'graceful');
        is_silent($m, "$what, mended");
    }
    $m->stop;
};

subtest 'what the source gives once it is good again counts' => sub {
    my $path = file('changing', $secret);
    my $m = member("MemSessSecret file:$path");
    my $c = started($m, 'a=1');
    unlink $path;
    reload($m, 'graceful') for 1, 2;
    is data($c), 'a=1', 'two failures in a row';
    file('changing', $other);
    like reload($m, 'graceful'), qr/secret rotated.*no longer accepted/, 'another secret';
    is state($c->copy), 'invalid', 'what the old one signed is over';
    my $d = started($m, 'a=2');
    unlink $path;
    reload($m, 'graceful');
    is data($d), 'a=2', 'what is kept is the new one';
    isnt state($c->copy), 'active', 'and not the old one';
    $m->stop;
};

subtest 'several, of which one fails' => sub {
    my ($old, $new) = (file('old', $secret), file('new', $other));
    my $m = member("MemSessSecret file:$old file:$new");
    my $of_new = member("MemSessSecret file:$new");
    my ($c, $d) = (started($m, 'a=1'), started($of_new, 'a=2'));
    unlink $old;
    reload($m, 'graceful');
    is data($c), 'a=1', 'the first, which signs';
    is data($d->copy(server => $m)), 'a=2', 'the other one is accepted as before';
    file('old', $secret);
    unlink $new;
    reload($m, 'graceful');
    is data($c), 'a=1', 'the second';
    is data($d->copy(server => $m)), 'a=2', 'is still accepted';
    unlink $old;
    reload($m, 'restart');
    is data($c), 'a=1', 'both';
    is scalar(@{ status($m)->{warnings} }), 2, 'a warning for each';
    $_->stop for $m, $of_new;
};

subtest 'a source that is new fails' => sub {
    my $path = file('before', $secret);
    my $m = member("MemSessSecret file:$path");
    my $c = started($m, 'a=1');
    for my $list ("file:$path file:$dir/none", "file:$dir/none file:$path", "exec:$dir/none",
        'file:' . file('young', $other) . " file:$dir/none") {
        $m->configure("$config\nMemSessSecret $list");
        like reload($m, 'graceful'),
            qr/memsess:error.*MemSessSecret \w+:\Q$dir\E\/none: .*the server goes on with the secrets that it had/,
            "$list: the log says what is done";
        is data($c), 'a=1', "$list: the secrets of before";
        is data(started($m, 'a=2')), 'a=2', "$list: new sessions too";
    }
    $m->configure("$config\nMemSessSecret file:$dir/young");
    like reload($m, 'graceful'), qr/secret rotated.*no longer accepted/, 'until all are good';
    is_silent($m, 'then');
    $m->stop;
};

subtest 'a host that is new, without any' => sub {
    my $host = sub { qq(
        <VirtualHost *>
            ServerName $_[0].test
            ScriptAlias /cgi/ "\${T_ROOT}/cgi-bin/"
            LuaMapHandler ^/lua/(\\w+)\$ "\${T_ROOT}/lua/\$1.lua"
            $_[1]
        </VirtualHost>) };
    my $path = file('host', $secret);
    my $m = member($host->(old => "MemSessSecret file:$path"));
    my $c = started($m, 'a=1', host => 'old.test');
    unlink $path;
    $m->configure($config . $host->(old => "MemSessSecret file:$path")
        . $host->(young => "MemSessSecret file:$dir/none"));
    like reload($m, 'graceful'),
        qr/virtual host young\.test.* has no secret, so its sessions are unavailable/, 'is named';
    is data($c), 'a=1', 'others go on';
    my $r = $c->copy(host => 'young.test')->get('/lua/env');
    is $r->status, 503, 'its sessions are unavailable';
    ok !$r->header('Set-Cookie'), 'the cookie stays';
    is client($m, host => 'young.test')->get(say_via('cgi', 'MemSess-Set: a=1'))->status, 503,
        'none begins, unsigned or unsealed';
    is client($m, host => 'young.test')->get('/lua/env')->status, 200,
        'who needs none is served';
    file('none', $other);
    reload($m, 'graceful');
    is data(started($m, 'a=2', host => 'young.test')), 'a=2', 'until the source is good';
    unlink "$dir/none";
    $m->stop;
};

subtest 'one program that hangs does not add to another' => sub {
    my @hangs = map { program("hang$_", "echo $secret") } 1 .. 4;
    my $m = member('MemSessSecret ' . join ' ', map { "exec:$_" } @hangs);
    my $c = started($m, 'a=1');
    program("hang$_", $hangs) for 1 .. 4;
    my $begun = now;
    my $log = hurried(sub { reload($m, 'graceful') });
    cmp_ok now - $begun, '<', 25, 'all of them within the time for one, and a little';
    is scalar(() = $log =~ /did not end within/g), 4, 'each is named';
    is data($c), 'a=1', 'the session of before';
    $m->stop;
};

subtest 'apachectl' => sub {
    my $path = program('control', "echo $secret; touch $dir/it-ran");
    my $m = member("MemSessSecret exec:$path");
    my $c = started($m, 'a=1');
    my $httpd = MemSess::Site::httpd();
    my $control = sub { my $said = qx('$httpd' -f '$m->{conf}' $_[0] 2>&1); return ($?, $said) };
    unlink "$dir/it-ran";
    is +($control->('-t'))[0], 0, 'configtest, while the source is good';
    ok -e "$dir/it-ran", 'asks it';
    program('control', 'exit 3');
    my ($status, $said) = $control->('-t');
    isnt $status, 0, 'configtest, when it fails';
    like $said, qr/MemSessSecret exec:\Q$path\E: failed with status 3; httpd does not start with this; a running httpd keeps/,
        'says what a start and what a restart would do';
    my $mark = $m->log->mark;
    ($status, $said) = $control->('-k graceful');
    is $status, 0, 'graceful' or diag $said;
    like $said, qr/MemSessSecret exec:\Q$path\E: failed/, 'tells whoever asks for it';
    ok $m->log->wait_for(qr/resuming normal operations/, $mark), 'is done';
    ok wait_for(20, sub { warnings_of($m) =~ /^MemSessSecret exec:\Q$path/ }), 'and shown';
    is data($c), 'a=1', 'the session of before';
    ($status, $said) = $control->('-k stop');
    is $status, 0, 'stop' or diag $said;
    ok wait_for(20, sub { !$m->alive }), 'is done';
    ok !eval { $m->start; 1 }, 'a start is refused';
    like $@, qr/MemSessSecret exec:\Q$path\E: failed with status 3/, 'with the reason';
};

subtest "the servers' password" => sub {
    my $path = file('password', "anna:TheFirstPass\n");
    my $guards = file('guards', "anna:TheFirstPass\n");
    my $guarded = MemSess::Memcached->start(args => ['-Y', $guards], auth => 'anna TheFirstPass');
    my $m = MemSess::Member->start(servers => [$guarded],
        config => "$config\nMemSessSecret file:"
            . file('beside', $secret) . "\nMemSessServerAuth $path");
    my $c = started($m, 'a=1');
    my @ways = (
        ['removed',         sub { unlink $path },                         qr/does not exist/],
        ['readable by all', sub { file('password', "anna:x\n", 0644) },   qr/is readable.*by all/],
        ['without a colon', sub { file('password', "TheFirstPass\n") },   qr/must hold one line/],
    );
    for my $way (@ways) {
        my ($what, $break, $why) = @$way;
        $break->();
        goes_on($m, $c, reload($m, $_), "MemSessServerAuth $path", $why, "$what, $_")
            for qw(graceful restart);
        file('password', "anna:TheFirstPass\n");
        reload($m, 'graceful');
        is_silent($m, "$what, mended");
    }
    $m->configure($m->{config} =~ s/\Q$path/$dir\/none-such/r);
    reload($m, 'graceful');
    is data($c), 'a=1', 'another file, which fails: the password of before';
    like warnings_of($m), qr{^MemSessServerAuth \Q$dir\E/none-such: does not exist}, 'is named';
    $m->stop;
    my $begun = eval { MemSess::Member->start(servers => [$guarded],
        config => "$config\nMemSessServerAuth $dir/none-such") };
    ok !$begun, 'a start is refused';
    like $@, qr{MemSessServerAuth \Q$dir\E/none-such: does not exist}, 'with the reason';
    $guarded->stop;
};

subtest 'what is misspelt is an error' => sub {
    for my $line ("MemSessSecret fil:$dir/old", 'MemSessSecret file:relative', 'MemSessSecrets x') {
        my ($status) = MemSess::Member->check($line);
        isnt $status, 0, $line;
    }
};

subtest 'a crash' => sub {
    # A restart loads the module again: nothing that is still called may be left of the old one.
    my $path = file('crash', $secret);
    my $m = member("MemSessSecret file:$path");
    for (1 .. 3) {
        unlink $path;
        reload($m, 'restart');
        file('crash', $secret);
        reload($m, 'restart');
    }
    ok $m->stop, 'httpd ends as it should';
    unlike $m->log->text . $m->output, qr/exit signal|Segmentation/, 'and no process of it crashes';
};
