package MemSess::Recipe;
# A recipe of examples/ with all that it needs: memcacheds, its own program if it has one
# (examples/NAME/backend PORT), and members with its site.conf. Sessions of the tests' common site are
# off here, except for two handlers of the tests, so that only the recipe switches sessions on.
use strict;
use warnings;
use parent 'MemSess::Process';

use IO::Socket::INET;
use MemSess::Member;
use MemSess::Memcached;
use MemSess::Process qw(free_port wait_for);
use MemSess::Site;

# members: how many, 2 by default; config: further directives, before those of the recipe
sub start {
    my ($class, $name, %args) = @_;
    my $dir = MemSess::Site::top() . "/examples/$name";
    -f "$dir/site.conf" or die "there is no recipe $name\n";
    my $self = bless { name => $name, dir => $dir, log => "t/logs/recipe-$name-$$.log",
        port => 0 }, $class;
    $self->start_backend if -x "$dir/backend";
    my @servers = map { MemSess::Memcached->start } 1 .. 2;
    $self->{members} = [map {
        MemSess::Member->start(servers => \@servers, config => $self->config($args{config} // ''))
    } 1 .. $args{members} // 2];
    return $self;
}

sub members { @{ $_[0]{members} } }

sub start_backend {
    my ($self) = @_;
    mkdir 't/logs';
    for (1 .. 5) {
        $self->{port} = free_port();
        $self->{command} = ["$self->{dir}/backend", $self->{port}];
        $self->launch;
        return if wait_for(120, sub { !$self->alive || $self->accepts }) && $self->alive;
    }
    die "$self->{dir}/backend does not start:\n" . $self->output;
}

sub accepts {
    my ($self) = @_;
    return IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $self->{port}, Timeout => 5);
}

# The modules are those that the recipe says to enable.
sub config {
    my ($self, $more) = @_;
    open my $in, '<', "$self->{dir}/site.conf" or die "$self->{dir}/site.conf: $!";
    my ($modules) = do { local $/; <$in> } =~ /^# a2enmod (.*)$/m;
    my $load = join '', map {
        my $from = /memsess/ ? MemSess::Site::top() . '/.libs' : MemSess::Site::query('LIBEXECDIR');
        qq(<IfModule !${_}_module>\nLoadModule ${_}_module "$from/mod_$_.so"\n</IfModule>\n)
    } grep { !/^(?:cgid|log_config)$/ } split ' ', $modules // '';
    return qq(
        Define EXAMPLE "$self->{dir}"
        Define BACKEND $self->{port}
        Define LOGS "\${T_DIR}"
        $load
        MemSess Off
        MemSessExpose env
        MemSessWriteback Off
        <LocationMatch "^/(lua/env|cgi/say)">
            MemSess On
            MemSessWriteback On
        </LocationMatch>
        $more
        Include "$self->{dir}/site.conf"
    );
}

# The comments of a kind in site.conf: Page, where to begin, and Try, commands, in which URL stands for
# a member's and LOGS for the directory of its logs.
sub says {
    my ($name, $what) = @_;
    open my $in, '<', MemSess::Site::top() . "/examples/$name/site.conf" or die "there is no recipe $name\n";
    return map { /^# \Q$what\E: (.*)$/ } <$in>;
}

# What examples/run does: two members with the recipe, until it is told to stop.
sub serve {
    my ($name) = @_;
    local $| = 1;
    MemSess::Site::prepare(backend => free_port(), memcached => '');
    my ($page) = says($name, 'Page');
    my $recipe = MemSess::Recipe->start($name, config => qq(RedirectMatch 302 "^/\$" "$page"\n));
    my @members = $recipe->members;
    my @urls = map { 'http://127.0.0.1:' . $_->port } @members;
    print "$name runs on two members, which share its sessions:\n", map({ "  $_$page\n" } @urls), "Try:\n";
    for my $command (says($name, 'Try')) {
        push @urls, shift @urls;
        print '  ', $command =~ s{URL(?=/)}{$urls[1]}gr =~ s{LOGS(?=/)}{$members[0]->dir}ger, "\n";
    }
    print "Ctrl-C stops them.\n";
    sleep 1 while 1;
}

serve(@ARGV) unless caller;

1;
