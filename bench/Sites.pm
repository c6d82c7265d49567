package Sites;

# The contestants: the servers of each, filled with sessions that are all alike,
# and a check that these are read and written.

use strict;
use warnings;

use Rig;

use File::Copy qw(copy);

our $SESSION_BYTES = 1024;
our $LISTED = 10;    # sessions of one user
our @ATTRIBUTES = qw(cart csrf lang mail name role seen theme);

# Each contestant has its name, the place of its sessions (see below), the path that is asked there,
# and its words in the table. writes: it changes the session. follows: it needs a client that takes
# each new cookie. fails: it is known to answer errors or not at all, which is then reported and no
# reason to stop.
our %CONTESTANTS = map {
    my ($name, $place, $path, $says, @traits) = @$_;
    ($name => { place => $place, path => $path, says => $says, map { $_ => 1 } @traits });
} (
    ['none', bare => '/none', 'no store'],
    ['bare-get', bare => '/get', 'one getp'],
    ['bare-getset', bare => '/getset', 'one getp, one set'],
    ['bare-get-2', bare => '/get-2', 'one multgetp, of two servers'],
    ['bare-getaddset', bare => '/getaddset', 'one getp, one add, one set'],

    ['off', one => '/none', 'module loaded, MemSess Off'],
    ['anonymous', one => '/idle', 'MemSess On, no cookie'],
    ['read', one => '/read', 'session read'],
    ['write', one => '/write', 'read, written exactly', 'writes'],
    ['read-2', two => '/read', 'read, two copies'],
    ['write-2', two => '/write', 'written exactly, two copies', 'writes'],

    ['read-sealed', sealed => '/read', 'read, sealed'],
    ['write-sealed', sealed => '/write', 'written exactly, sealed', 'writes'],
    ['read-sealed-2', 'sealed-two' => '/read', 'two copies, sealed'],
    ['write-sealed-2', 'sealed-two' => '/write', 'written exactly, two copies, sealed', 'writes'],
    ['read-cached', cached => '/read', 'read, local cache'],
    ['write-cached', cached => '/write-told', 'written exactly, local cache', 'writes', 'follows'],

    ['read-user', user => '/read', 'read, a user logged in'],
    ['read-listed', listed => '/read', 'read, one of 10 listed sessions of a user'],

    ['api-read', one => '/api-read', 'read through the C API'],
    ['api-write', one => '/api-write', 'written exactly, through the C API', 'writes'],
    ['api-read-cached', cached => '/api-read', 'read through the C API, local cache'],

    ['proxy-none', proxy => '/none', 'a proxied back end, no session'],
    ['proxy-read', proxy => '/read', 'a back end reads'],
    ['proxy-write', proxy => '/write', 'a back end reads and writes', 'writes'],

    ['php-read', 'php-usual' => '/read.php', 'PHP as most run it: lock, no persistence'],
    ['php-write', 'php-usual' => '/write.php', 'the same, written', 'writes'],
    ['php-locked-read', 'php-locked' => '/read_and_close.php', 'PHP tuned, with its lock'],
    ['php-locked-write', 'php-locked' => '/write.php', 'the same, written', 'writes'],
    ['php-tuned-read', 'php-tuned' => '/read_and_close.php', 'PHP tuned, without lock'],
    ['php-tuned-write', 'php-tuned' => '/write.php', 'the same, written', 'writes'],
    ['php-copied-read', 'php-copied' => '/read.php', 'PHP as most run it, two copies'],
    ['php-copied-write', 'php-copied' => '/write.php', 'the same, written', 'writes'],
    ['redis-read', 'php-redis' => '/read_and_close.php', 'PHP with Redis, tuned, with its lock'],
    ['redis-write', 'php-redis' => '/write.php', 'the same, written', 'writes'],
    ['pecl-read', 'php-pecl' => '/read.php', 'PHP, pecl memcache, its defaults', 'fails'],
    ['pecl-write', 'php-pecl' => '/write.php', 'the same, written', 'writes', 'fails'],

    ['fpm-read', 'fpm-usual' => '/read.php', 'php-fpm as most run it: lock, no persistence'],
    ['fpm-write', 'fpm-usual' => '/write.php', 'the same, written', 'writes'],
    ['fpm-locked-read', 'fpm-locked' => '/read_and_close.php', 'php-fpm tuned, with its lock'],
    ['fpm-locked-write', 'fpm-locked' => '/write.php', 'the same, written', 'writes'],
    ['fpm-tuned-read', 'fpm-tuned' => '/read_and_close.php', 'php-fpm tuned, without lock'],
    ['fpm-tuned-write', 'fpm-tuned' => '/write.php', 'the same, written', 'writes'],

    ['cookie-read', cookie => '/read', 'mod_session_cookie, mod_session_crypto'],
    ['cookie-write', cookie => '/write', 'the same, written', 'writes', 'follows'],
    ['dbd-read', dbd => '/read', 'mod_session_dbd, SQLite', 'fails'],
    ['dbd-write', dbd => '/write', 'the same, written', 'writes', 'follows', 'fails'],
);

# In the order of the table; a group's name stands for all in it.
our @GROUPS = (
    [yardstick => qw(none bare-get bare-get-2 bare-getset bare-getaddset)],
    [ours      => qw(off anonymous read read-2 write write-2)],
    [sealed    => qw(read-sealed write-sealed read-sealed-2 write-sealed-2)],
    [cached    => qw(read-cached write-cached)],
    [users     => qw(read-user read-listed)],
    [api       => qw(api-read api-write api-read-cached)],
    [proxy     => qw(proxy-none proxy-read proxy-write)],
    [php       => qw(php-read php-write php-locked-read php-locked-write php-tuned-read
                     php-tuned-write)],
    [copied    => qw(php-copied-read php-copied-write)],
    [redis     => qw(redis-read redis-write)],
    [pecl      => qw(pecl-read pecl-write)],
    [fpm       => qw(fpm-read fpm-write fpm-locked-read fpm-locked-write fpm-tuned-read
                     fpm-tuned-write)],
    [session   => qw(cookie-read cookie-write dbd-read dbd-write)],
);

# The pairs that are compared, and their goals.
our @GOALS = (
    ['read',    'bare-get',         0.95],
    ['write',   'bare-getset',      0.75],
    ['write',   'bare-getaddset'],
    ['bare-getaddset', 'bare-getset'],
    ['read-sealed',  'read',        0.9],
    ['write-sealed', 'write',       0.9],
    ['read-2',  'read',             0.88],
    ['write-2', 'write',            0.75],
    ['write-2', 'php-locked-write', 1.3],
    ['read-2',  'php-copied-read'],
    ['write-2', 'php-copied-write'],
    ['write',   'redis-write'],
    ['write-2', 'redis-write'],
    ['read-2',  'bare-get-2'],
    ['bare-get-2', 'bare-get'],
    ['write-2', 'bare-getset'],
    ['read-sealed-2', 'read-2',     0.92],
    ['write-sealed-2', 'write-2',   0.92],
    ['read-listed',  'read-user',   0.95],
    ['read-user',    'read'],
    ['read-cached',  'none',        0.93],
    ['read-cached',  'read'],
    ['write-cached', 'bare-getset', 0.85],
    ['read-cached',  'php-tuned-read',   1.4],
    ['write-cached', 'php-locked-write', 1.4],
    ['read',    'php-read',         5],
    ['write',   'php-write'],
    ['read',    'php-tuned-read'],
    ['write',   'php-locked-write'],
    ['api-read',  'bare-get',       0.95],
    ['api-write', 'bare-getset',    0.75],
    ['proxy-read', 'proxy-none'],
    ['proxy-write', 'proxy-none'],
    ['read',    'fpm-tuned-read'],
    ['read',    'cookie-read'],
    ['read',    'dbd-read'],
);

# A place: its site, the path that all of its own begin with, and those that make
# and show a session. fresh: new sessions are made for every run, since ids change
# with every write, or a run leaves locks. The yardstick gets the same request as
# mod_memsess, with a cookie that it does not look at.
my %PLACES = (
    bare  => { site => 'bare', cookies => ['memsess=' . 'x' x 24] },
    one   => { site => 'one',   make => '/write', show => '/show' },
    two   => { site => 'two',   make => '/write', show => '/show' },
    (map { ($_ => { site => $_, make => '/write', show => '/show' }) } qw(sealed sealed-two)),
    (map { ($_ => { site => $_, make => '/write', show => '/show', users => 1 }) } qw(user listed)),
    cached => { site => 'cached', make => '/write', show => '/show', fresh => 1 },
    proxy => { site => 'proxy', base => '/back', make => '/write', show => '/show' },
    (map { my ($of) = /(\w+)/;
        ($_ => { site => $of, base => '/' . s/\w+-//r, make => '/write.php',
            show => '/show.php' }) }
        qw(php-usual php-locked php-tuned php-copied php-redis fpm-usual fpm-locked fpm-tuned)),
    'php-pecl' => { site => 'php', base => '/pecl', make => '/write.php', fresh => 1 },
    (map { ($_ => { site => 'session', base => "/$_", make => '/write', show => '/show',
        fresh => 1 }) }
        qw(cookie dbd)),
);

my %MAKE = (
    bare    => \&bare_site,
    one     => sub { memsess_site('one', copies => 1, @_) },
    two     => sub { memsess_site('two', copies => 2, @_) },
    sealed       => sub { memsess_site('sealed', copies => 1, conf => secret_conf(), @_) },
    'sealed-two' => sub { memsess_site('sealed-two', copies => 2, conf => secret_conf(), @_) },
    user         => sub { memsess_site('user', copies => 1, @_) },
    listed       => sub { memsess_site('listed', copies => 1, @_,
        conf => "MemSessUserSessions $LISTED\n") },
    cached       => sub { memsess_site('cached', copies => 1, @_,
        conf => secret_conf() . "MemSessLocalCache 64M max-age=60s\n") },
    proxy   => \&proxy_site,
    php     => \&php_site,
    fpm     => \&fpm_site,
    session => \&session_site,
);

sub chosen {
    my %group = map { my ($name, @of) = @$_; $name => \@of } @GROUPS;
    my @order = map { @$_[1 .. $#$_] } @GROUPS;
    return @order if !@_;
    my %wanted;
    for my $name (@_) {
        my @of = $CONTESTANTS{$name} ? $name : @{ $group{$name} || [] };
        die "no contestant or group $name among: @{[sort keys %group]}; @order\n" if !@of;
        @wanted{@of} = ();
    }
    return grep { exists $wanted{$_} } @order;
}

sub is_ours {
    my ($name) = @_;
    return $CONTESTANTS{$name}{place} =~ /^(one|two|sealed|sealed-two|user|listed|cached|proxy)$/ ? 1 : 0;
}

# --- sessions ----------------------------------------------------------------

# Names and values together make up the wanted size. Words and spaces, so that
# some bytes change in form encoding and most do not. One value begins with the
# number of the session.
sub session_form {
    my ($number, $bytes) = @_;
    my $each = ($bytes || $SESSION_BYTES) / @ATTRIBUTES;
    my $words = 'Lorem ipsum dolor sit amet consectetur adipiscing elit sed do ';
    my %data = map { $_ => substr $words x (1 + $each / length $words), 0,
        $each - length } @ATTRIBUTES;
    substr $data{seen}, 0, 5, sprintf '%04d ', $number;
    return join '&', map { (my $v = $data{$_}) =~ s/ /+/g; "$_=$v" } sort keys %data;
}

sub make_session {
    my ($site, $path, $form) = @_;
    my $answer = $site->get("$path?$form");
    my $set = $answer->{headers}{'set-cookie'};
    ($set) = grep {/\S=\S/} ref $set ? @$set : ($set || '');
    my ($cookie) = ($set || '') =~ /^([^;]+)/
        or die "$site->{name}$path made no session\n" . $site->complaints;
    return $cookie;
}

# A session, which must be there whole.
sub show_session {
    my ($site, $path, $cookie) = @_;
    my ($state, $form) = split /\n/, $site->get($path, $cookie)->{content};
    my %seen = map { (split /=/)[0] => 1 } split /&/, $form || '';
    die "$site->{name}$path: the session is $state, with: @{[$form || 'nothing']}\n"
        if $state ne 'active' || grep { !$seen{$_} } @ATTRIBUTES;
    return $form;
}

# The same from memcached, for a PHP that would leave a lock if it was asked.
sub peek_session {
    my ($memcached, $cookie) = @_;
    my ($id) = $cookie =~ /=(.*)/;
    my $record = Rig::memcached_get($memcached, $id);
    die "memcached has of $id: $record\n" if grep { $record !~ /\b$_\|/ } @ATTRIBUTES;
    return $record;
}

# --- sites: an httpd with its memcached --------------------------------------

# Bare handlers run where the module is not even loaded.
my $BARE_CONFIG = <<'CONFIG';
<Location "/get">
    SetHandler bare-get
</Location>
<Location "/get-2">
    SetHandler bare-get-2
</Location>
<Location "/getset">
    SetHandler bare-getset
</Location>
<Location "/getaddset">
    SetHandler bare-getaddset
</Location>
CONFIG

sub bare_site {
    my (%option) = @_;
    my @memcached = map { Rig::memcached("memcached-bare-$_") } 0, 1;
    Rig::memcached_set($memcached[0], 'bench', 'x' x $SESSION_BYTES);
    Rig::memcached_set($memcached[$_], "bench$_", 'x' x $SESSION_BYTES) for 0, 1;
    my $site = Rig::httpd('bare', %option,
        conf => $BARE_CONFIG . "BareServer @{[map { $_->{address} } @memcached]}\n");
    $site->{memcached} = \@memcached;
    return $site;
}

my $MEMSESS_CONFIG = <<'CONFIG';
LoadModule memsess_module "%(dir)/mod_memsess.so"
LoadModule bench_api_module "%(dir)/mod_api.so"
<Location "/idle">
    SetHandler bare-none
    MemSess On
</Location>
CONFIG

# It has as few sections as the yardstick: the time that httpd takes to find one is not ours.
sub session_section {
    my ($path, $handler, @more) = @_;
    my @lines = ($handler ? "SetHandler $handler" : (), 'MemSess On', @more);
    return "<Location \"$path\">\n", (map { "    $_\n" } @lines), "</Location>\n";
}

my $HANDLER_CONFIG = join '',
    session_section('/read', 'memsess-read'),
    session_section('/show', 'memsess-show'),
    session_section('/write', 'memsess-write', 'MemSessWriteback On'),
    session_section('/write-told', 'memsess-write-told', 'MemSessWriteback On'),
    session_section('/renew', 'memsess-renew', 'MemSessWriteback On'),
    session_section('/destroy', 'memsess-destroy', 'MemSessWriteback On'),
    session_section('/api-read', 'api-read', 'MemSessExpose none'),
    session_section('/api-write', 'api-write', 'MemSessExpose none');

# Options beside those of httpd: copies; memcached, where there are servers
# already; servers, how many are started else; addresses, if others than theirs;
# timeout, longer than the default so that a busy machine makes nobody fail.
sub memsess_site {
    my ($name, %option) = @_;
    die "mod_memsess.so is not built\n" if !-e 'mod_memsess.so';
    my $copies = $option{copies};
    my @memcached = @{ $option{memcached} || [] };
    @memcached = map { Rig::memcached("memcached-$name-$_") } 1 .. $option{servers} || $copies
        if !@memcached;
    my @addresses = $option{addresses} ? @{ $option{addresses} } : map { $_->{address} } @memcached;
    my $site = Rig::httpd($name, %option, conf => $MEMSESS_CONFIG
        . ($option{handlers} || $HANDLER_CONFIG)
        . "MemSessServers @addresses\n"
        . "MemSessRedundancy $copies\nMemSessTimeout @{[$option{timeout} || '250ms']}\n"
        . ($option{conf} || ''));
    $site->{memcached} = \@memcached;
    return $site;
}

sub secret_conf {
    my $file = Rig::write_file('secret', '0123456789abcdef' x 4 . "\n");
    chmod 0600, $file;
    return "MemSessSecret file:$file\n";
}

# Two httpds: the second has the handlers, and no module.
my $BACKEND_CONFIG = <<'CONFIG';
<Location "/read">
    SetHandler memsess-read
</Location>
<Location "/write">
    SetHandler memsess-write
</Location>
<Location "/show">
    SetHandler memsess-show
</Location>
CONFIG

sub proxy_site {
    my (%option) = @_;
    my $backend = Rig::httpd('backend', %option, conf => $BACKEND_CONFIG);
    my $site = memsess_site('proxy', %option, copies => 1, modules => [qw(proxy proxy_http)],
        handlers => join '', "MemSessExpose headers\n",
            session_section('/back/read'), session_section('/back/show'),
            session_section('/back/write', undef, 'MemSessWriteback On'),
            "ProxyPass \"/back/\" \"$backend->{url}/\"\n");
    push @{ $site->{pids} }, $backend->{pid};
    return $site;
}

# PHP's own defaults, but for what the names say; OPcache as Debian has it.
# Copies by libmemcached, over connections that are kept, get each other's answers: these cannot be
# tuned.
sub php_settings {
    my ($kind, $memcached, $second, $redis) = @_;
    return (
        'session.save_handler'          => 'redis',
        'session.save_path'             => "tcp://$redis->{address}?persistent=1",
        'redis.session.locking_enabled' => 1,
    ) if $kind eq 'redis';
    return ('session.save_handler' => 'memcache',
        'session.save_path' => "tcp://$memcached->{address}") if $kind eq 'pecl';
    return (
        'session.save_handler'      => 'memcached',
        'memcached.sess_persistent' => $kind =~ /usual|copied/ ? 0 : 1,
        'memcached.sess_locking'    => $kind eq 'tuned' ? 0 : 1,
        $kind eq 'copied' ? (
            'session.save_path' => "$memcached->{address},$second->{address}",
            'memcached.sess_number_of_replicas' => 1,
            'memcached.sess_binary_protocol'    => 1,
        ) : ('session.save_path' => $memcached->{address}),
    );
}

# Returns the configuration of all PHPs here; extensions are named in it alone.
sub php_ini {
    my (@kinds) = @_;
    $ENV{PHP_INI_SCAN_DIR} = '';
    for my $kind (@kinds) {
        mkdir "htdocs/$kind";
        for my $script (glob '*.php') {
            copy($script, "htdocs/$kind/") or die "$script: $!\n";
        }
    }
    return Rig::write_file('php.ini', <<'INI');
zend_extension = opcache
extension = igbinary
extension = msgpack
extension = memcached
extension = memcache
extension = redis
opcache.enable = 1
opcache.revalidate_freq = 60
log_errors = 1
display_errors = 0
INI
}

# Kinds of PHP, by the settings that differ.
sub php_site {
    my (%option) = @_;
    die "libphp.so is missing: use make -f Makefile.apxs bench-deps\n" if !-e 'libphp.so';
    my @kinds = qw(usual locked tuned pecl copied redis);
    my @memcached = map { Rig::memcached($_) } qw(memcached-php memcached-php-2);
    my $redis = Rig::redis('redis');
    php_ini(@kinds);
    my $conf = qq(LoadModule php_module "%(dir)/libphp.so"\nPHPIniDir "%(dir)"\n);
    for my $kind (@kinds) {
        my %setting = php_settings($kind, @memcached, $redis);
        $conf .= qq(<Directory "%(dir)/htdocs/$kind">\n    SetHandler application/x-httpd-php\n)
            . join('', map {"    php_admin_value $_ \"$setting{$_}\"\n"} sort keys %setting)
            . "</Directory>\n";
    }
    my $site = Rig::httpd('php', %option, mpm => 'prefork', conf => $conf);
    $site->{memcached} = \@memcached;
    push @{ $site->{pids} }, $redis->{pid};
    return $site;
}

# As Debian's www.conf has it; and tuned: a worker for every connection that
# httpd keeps to it.
my $FPM_WORKERS = 32;
my %FPM = (
    usual  => "pm = dynamic\npm.max_children = 5\npm.start_servers = 2\n"
        . "pm.min_spare_servers = 1\npm.max_spare_servers = 3\n",
    locked => "pm = static\npm.max_children = $FPM_WORKERS\n",
    tuned  => "pm = static\npm.max_children = $FPM_WORKERS\n",
);

sub fpm_site {
    my (%option) = @_;
    my ($program) = glob '/usr/sbin/php-fpm*' or die "php-fpm is missing\n";
    my $memcached = Rig::memcached('memcached-fpm');
    my $ini = php_ini(sort keys %FPM);
    my $directory = Rig::directory();
    my $fpm = "[global]\nerror_log = $directory/php-fpm.log\ndaemonize = no\n";
    my $conf = '';
    for my $kind (sort keys %FPM) {
        my %setting = php_settings($kind, $memcached);
        my $address = "unix:$directory/$kind.sock|fcgi://$kind/";
        $fpm .= "[$kind]\nlisten = $directory/$kind.sock\nlisten.backlog = 1024\n$FPM{$kind}"
            . join '', map {"php_admin_value[$_] = $setting{$_}\n"} sort keys %setting;
        $conf .= qq(<Proxy "$address" enablereuse=on max=$FPM_WORKERS>\n</Proxy>\n)
            if $kind ne 'usual';
        $conf .= qq(<Directory "%(dir)/htdocs/$kind">\n    SetHandler "proxy:$address"\n)
            . "</Directory>\n";
    }
    my $pid = Rig::spawn("$directory/php-fpm.out", $program, '-F', '-c', $ini, '-y',
        Rig::write_file('fpm.conf', $fpm));
    Rig::await(20, sub { Rig::ended($pid) || -S 'usual.sock' && -S 'tuned.sock' })
        && !Rig::ended($pid)
        or die "php-fpm does not start:\n" . Rig::slurp("$directory/php-fpm.out")
        . Rig::slurp("$directory/php-fpm.log");
    my $site = Rig::httpd('fpm', %option, modules => [qw(proxy proxy_fcgi)], conf => $conf);
    $site->{memcached} = [$memcached];
    push @{ $site->{pids} }, $pid;
    return $site;
}

# SessionExpiryUpdateInterval does what MemSessRefresh does: without it these
# write for every request.
my $SESSION_CONFIG = <<'CONFIG';
DBDriver sqlite3
DBDParams "%(dir)/session.sqlite"
DBDInitSQL "PRAGMA synchronous = NORMAL"
DBDPrepareSQL "delete from session where key = %s" deletesession
DBDPrepareSQL "update session set value = %s, expiry = %lld, key = %s where key = %s" updatesession
DBDPrepareSQL "insert into session (value, expiry, key) values (%s, %lld, %s)" insertsession
DBDPrepareSQL "select value from session where key = %s and (expiry = 0 or expiry > %lld)" \
    selectsession
DBDPrepareSQL "delete from session where expiry != 0 and expiry < %lld" cleansession
SessionMaxAge 1800
SessionExpiryUpdateInterval 60
<LocationMatch "^/(cookie|dbd)/">
    Session On
    SessionEnv On
    SessionHeader X-Replace-Session
</LocationMatch>
<Location "/cookie">
    SessionCookieName session path=/
    SessionCryptoPassphrase "a passphrase of the benchmark's own"
</Location>
<Location "/dbd">
    SessionDBDCookieName session path=/
</Location>
<LocationMatch "/read$">
    SetHandler session-read
</LocationMatch>
<LocationMatch "/write$">
    SetHandler session-write
</LocationMatch>
<LocationMatch "/show$">
    SetHandler session-show
</LocationMatch>
CONFIG

sub session_site {
    my (%option) = @_;
    unlink glob 'session.sqlite*';
    Rig::output_of('sqlite3', 'session.sqlite', 'PRAGMA journal_mode = WAL;'
        . 'CREATE TABLE session (key TEXT PRIMARY KEY, value TEXT, expiry INTEGER);');
    return Rig::httpd('session', %option, conf => $SESSION_CONFIG,
        modules => [qw(dbd session session_cookie session_crypto session_dbd)]);
}

# --- places, with their sessions ---------------------------------------------

# Opens what these contestants need, for so many connections; returns the places
# by name. Each has its site, base, and cookies, of more sessions than there are
# connections. Options are those of httpd.
sub open_places {
    my ($connections, $option, @names) = @_;
    my (%places, %sites);
    for my $name (@names) {
        my $of = $CONTESTANTS{$name}{place};
        next if $places{$of};
        my %place = (base => '', %{ $PLACES{$of} }, name => $of);
        $place{site} = $sites{ $place{site} } ||= $MAKE{ $place{site} }->(
            threads => $connections < 16 ? 32 : $connections + 16, %$option);
        $place{sessions} = !$place{make} ? 0 : 48 + ($place{fresh} ? 2 : 4) * $connections;
        fill(\%place);
        $places{$of} = \%place;
    }
    return \%places;
}

# Makes the sessions of a place.
sub fill {
    my ($place) = @_;
    $place->{cookies} = [map { make_session($place->{site}, "$place->{base}$place->{make}",
        session_form($_) . ($place->{users} ? '&user=u' . int($_ / $LISTED) : '')) }
        0 .. $place->{sessions} - 1] if $place->{sessions};
    return;
}

sub close_places {
    my ($places) = @_;
    my %sites = map { $_->{site}{pid} => $_->{site} } values %$places;
    $_->close_site for values %sites;
    return;
}

# One cookie of the contestant's, or undef.
sub cookie_of {
    my ($name, $place) = @_;
    return if $CONTESTANTS{$name}{path} eq '/idle' || !$place->{cookies};
    return $place->{cookies}[0];
}

# One single request of a contestant: it must answer, have its session, change it
# if it writes, and leave it alone if not. A new cookie is taken.
sub check {
    my ($name, $place) = @_;
    my $contestant = $CONTESTANTS{$name};
    my ($site, $base) = @$place{qw(site base)};
    fill($place) if $place->{fresh};
    my $cookie = cookie_of($name, $place);
    my $show = sub {
        return $place->{show} ? show_session($site, "$base$place->{show}", $cookie)
            : peek_session($site->{memcached}[0], $cookie);
    };
    my $has_session = $cookie && $place->{sessions};
    my $before = $has_session && $show->();
    my $answer = $site->get($base . $contestant->{path}, $cookie);
    die "$name says: $answer->{content}\n" if $answer->{content} ne "Hello, world.\n";
    return if !$has_session;
    if (defined(my $set = $answer->{headers}{'set-cookie'})) {
        die "$name sets its cookie again\n" if !$contestant->{follows};
        ($cookie) = (ref $set ? $set->[-1] : $set) =~ /^([^;]+)/;
    }
    my $changed = $show->() ne $before;
    die "$name did not change the session\n" if $contestant->{writes} && !$changed;
    die "$name changed the session\n" if !$contestant->{writes} && $changed;
    return;
}

1;
