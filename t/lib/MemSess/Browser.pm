package MemSess::Browser;
# A real browser: Chromium without a screen, driven by its chromedriver (WebDriver, over HTTP).
use strict;
use warnings;
use parent 'MemSess::Process';

use File::Path qw(make_path);
use HTTP::Tiny;
use JSON::PP ();
use MemSess::Process qw(wait_for free_port);

my $count = 0;
my $json  = JSON::PP->new->utf8->allow_nonref;

# The missing ones of the two programs.
sub missing { return grep { system("command -v $_ >/dev/null 2>&1") } qw(chromium chromedriver) }

sub start {
    my ($class) = @_;
    my $dir  = sprintf '%s/logs/browser-%d-%d', $ENV{MEMSESS_T_ROOT}, $$, ++$count;
    make_path("$dir/profile");
    my $port = free_port();
    my $self = bless {
        http    => HTTP::Tiny->new(timeout => 120, keep_alive => 0),
        port    => $port,
        dir     => $dir,
        log     => "$dir/chromedriver.log",
        command => ['chromedriver', "--port=$port"],
    }, $class;
    $self->launch;
    wait_for(30, sub { $self->output =~ /started successfully/ || !$self->alive })
        && $self->alive or die "chromedriver does not start:\n" . $self->output;
    $self->{session} = $self->call(POST => '', { capabilities => { alwaysMatch => {
        'goog:chromeOptions' => { args => [qw(--headless --no-sandbox --disable-gpu --disable-quic
            --no-first-run --disable-background-networking --disable-component-update
            --disable-sync --ignore-certificate-errors), "--user-data-dir=$dir/profile"] },
        timeouts => { script => 60_000, pageLoad => 60_000 } } } })->{sessionId};
    return $self;
}

# Chromium is chromedriver's child.
sub stop {
    my ($self) = @_;
    eval { $self->call(DELETE => '') } if $self->{session};
    delete $self->{session};
    return $self->SUPER::stop;
}

sub call {
    my ($self, $method, $what, $data) = @_;
    my $session = $self->{session} ? "/$self->{session}" : '';
    my $r = $self->{http}->request($method, "http://127.0.0.1:$self->{port}/session$session$what",
        { headers => { 'Content-Type' => 'application/json' },
          content => $data ? $json->encode($data) : '' });
    my $answer = $json->decode($r->{content} || 'null');
    $r->{status} == 200
        or die "the browser cannot $method $what: $answer->{value}{message}\n";
    return $answer->{value};
}

sub visit { my ($self, $url) = @_; return $self->call(POST => '/url', { url => $url }) }

# Runs the body of an asynchronous function in the page, and returns its value.
sub run {
    my ($self, $script, @args) = @_;
    return $self->call(POST => '/execute/async', { args => \@args, script =>
        "const done = arguments[arguments.length - 1]; const args = [...arguments];"
        . "(async () => { $script })().then(done, e => done('failed: ' + e));" });
}

sub text { my ($self) = @_; return $self->run('return document.body.innerText') }

# All cookies, with name, value, httpOnly and so on.
sub cookies { my ($self) = @_; return @{ $self->call(GET => '/cookie') } }

sub cookie { my ($self) = @_; my ($c) = grep { $_->{name} eq 'memsess' } $self->cookies;
    return $c ? $c->{value} : undef }

# Clicks several times in a row, as a finger does, on the element that a CSS selector finds.
sub click {
    my ($self, $selector, $times) = @_;
    my ($element) = values %{ $self->call(POST => '/element', { using => 'css selector',
        value => $selector }) };
    my $origin = { 'element-6066-11e4-a52e-4f735466cecf' => $element };
    my @click  = ({ type => 'pointerDown', button => 0 }, { type => 'pointerUp', button => 0 },
        { type => 'pause', duration => 120 });
    return $self->call(POST => '/actions', { actions => [{ type => 'pointer', id => 'finger',
        parameters => { pointerType => 'mouse' },
        actions => [{ type => 'pointerMove', duration => 0, origin => $origin, x => 0, y => 0 },
                    (@click) x ($times // 1)] }] });
}

1;
