package Report;

# What all benchmarks print, and where they leave their results.

use strict;
use warnings;

use Rig;

use Exporter qw(import);
use POSIX qw(strftime);

our @EXPORT = qw(median machine say_on);

my ($path, $handle, $said);
$said = '';

# Results go into a directory of their own. To be called before rights are left
# behind: it is then written to through its handle, wherever it lies.
sub keep_in {
    my ($parent) = @_;
    mkdir $parent;
    $path = strftime("$parent/%Y%m%d-%H%M%S", localtime);
    $path .= "-$$" if -e $path;
    mkdir $path or die "$path: $!\n";
    my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
    chown $uid, $gid, $path if $> == 0;
    opendir $handle, $path or die "$path: $!\n";
    return;
}

# Prints, and remembers it for the results.
sub say_on {
    my ($format, @values) = @_;
    my $text = @values ? sprintf $format, @values : $format;
    $said .= $text;
    print $text;
    return;
}

# Writes the results: what was printed, and files by name.
sub leave {
    my ($name, %files) = @_;
    $files{"$name.txt"} = $said;
    my $before = Rig::directory();
    chdir $handle or die "$path: $!\n";
    for my $file (keys %files) {
        open my $out, '>', $file or die "$path/$file: $!\n";
        print {$out} $files{$file};
        close $out or die "$path/$file: $!\n";
    }
    chdir $before or die "$before: $!\n";
    $said = '';
    print "\nresults: $path (@{[join ', ', sort keys %files]})\n";
    return;
}

sub median {
    my @sorted = sort { $a <=> $b } grep { defined } @_;
    return if !@sorted;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# Prints what this ran on; returns the lines.
sub machine {
    my ($model) = Rig::slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)/m;
    my $cores = () = Rig::slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;
    my ($kernel) = Rig::slurp('/proc/version') =~ /version (\S+)/;
    my ($httpd) = Rig::output_of(Rig::httpd_program(), '-v') =~ m{Apache/(\S+)};
    my ($apr, $apu) = map { Rig::apxs($_) } qw(APR_VERSION APU_VERSION);
    my ($memcached) = Rig::output_of('memcached', '-V') =~ /(\S+)$/m;
    my ($wrk) = Rig::output_of('sh', '-c', 'wrk -v || :') =~ /(wrk \S+)/;
    my ($php) = Rig::output_of('sh', '-c', 'php -v || php-fpm* -v || :') =~ /(PHP \S+)/;
    my @lines = (
        sprintf('%s; %d x %s; Linux %s; load %s', strftime('%Y-%m-%d', localtime), $cores,
            $model || 'unknown', $kernel, (split ' ', Rig::slurp('/proc/loadavg'))[0]),
        "httpd $httpd, apr $apr, apr-util $apu, memcached $memcached, $wrk"
            . ($php ? ", $php" : ''),
    );
    say_on("%s\n", $_) for @lines;
    return @lines;
}

1;
