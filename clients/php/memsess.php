<?php
// Licensed under the Apache License, Version 2.0; see LICENSE.

// $_SESSION in mod_memsess: php.ini, the pool of php-fpm or httpd's configuration says
//     auto_prepend_file = /usr/share/mod_memsess/php/memsess.php
// and session_start() and $_SESSION are used as ever. README.md beside this file says more.

namespace MemSess;

class Error extends \RuntimeException {}

// The store cannot answer: that is no empty session.
class Unavailable extends Error {}

// A value that JSON lacks.
final class NotJson extends Error {}

// A JSON object that is another language's tag: it is written back as it came.
final class Tagged
{
    public function __construct(public string $tag, public mixed $value) {}
}

// Keys to names of attributes, values to what is stored, and back: docs/adapters.md says it in words.
final class Codec
{
    private const JSON = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_LINE_TERMINATORS
        | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR;

    // Keys whose strings are stored and read as they are, whatever they look like.
    public array $plain = [];

    // False: PHP's objects are neither read nor written.
    public bool $objects = true;

    public function name(int|string $key): string
    {
        $key = (string)$key;
        if (preg_match('/^(?!\.\.)[A-Za-z0-9_.-]{1,64}$/D', $key)) {
            return $key;
        }
        if (!self::isUtf8($key)) {
            throw new Error('The session\'s key ' . rawurlencode($key) . ' is not valid UTF-8.');
        }
        $name = '..' . preg_replace_callback('/[^A-Za-z0-9_-]/', fn($m) => sprintf('.%02X', ord($m[0])), $key);
        if (strlen($name) > 64) {
            throw new Error("The session's key '$key' cannot be stored: as the name of an attribute, $name, it has "
                . strlen($name) . ' characters, and 64 are the most. Use a shorter key.');
        }
        return $name;
    }

    // Null for a name that no key leads to.
    public function key(string $name): ?string
    {
        if (!str_starts_with($name, '..')) {
            return $name;
        }
        $key = preg_replace_callback('/\.([0-9A-F]{2})/', fn($m) => chr(hexdec($m[1])), substr($name, 2));
        return self::isUtf8($key) && strlen($name) <= 64 && $this->name($key) === $name ? $key : null;
    }

    public function encode(int|string $key, mixed $value): string
    {
        try {
            if (!in_array((string)$key, $this->plain, true)) {
                return is_string($value) && self::isBare($value) ? $value : $this->json($value);
            }
            $text = is_string($value) ? $value : $this->json($value);
            if (str_contains($text, "\0")) {
                throw new Error('it has a NUL');
            }
            return $text;
        } catch (\Throwable $e) {
            throw new Error("The session's '$key' cannot be stored: " . $e->getMessage() . '.', 0, $e);
        }
    }

    public function decode(int|string $key, string $text): mixed
    {
        if (in_array((string)$key, $this->plain, true) || !self::isJson($text)) {
            return $text;
        }
        $value = json_decode($text, false, 512, JSON_BIGINT_AS_STRING);
        return match (json_last_error()) {
            JSON_ERROR_NONE => $this->untag($value),
            // PHP's stdClass takes no name that begins with NUL.
            JSON_ERROR_INVALID_PROPERTY_NAME => json_decode($text, true, 512, JSON_BIGINT_AS_STRING),
            JSON_ERROR_UTF16 => $text,
            default => throw new Error("The session's '$key' cannot be read: " . json_last_error_msg() . '.'),
        };
    }

    // What JSON lacks is kept as PHP writes it, the whole value, so that what is one object stays one.
    private function json(mixed $value): string
    {
        try {
            $tagged = $this->tag($value, 0);
        } catch (NotJson $e) {
            if (!$this->objects) {
                throw $e;
            }
            $tagged = (object)[' php' => base64_encode(serialize($value))];
        }
        return json_encode($tagged, self::JSON);
    }

    private function tag(mixed $value, int $depth): mixed
    {
        return match (true) {
            is_string($value) => self::isUtf8($value) ? $value : (object)[' b' => base64_encode($value)],
            is_array($value) => $this->tagArray($value, $depth + 1),
            $value instanceof Tagged => (object)[$value->tag => $value->value],
            is_object($value) => throw new NotJson('it has an object of ' . $value::class),
            is_scalar($value), $value === null => $value,
            default => throw new Error('it has a ' . gettype($value)),
        };
    }

    private function tagArray(array $value, int $depth): mixed
    {
        if ($depth > 400) {
            throw new NotJson('it is nested too deeply');
        }
        $tagged = [];
        foreach ($value as $key => $item) {
            if (!self::isUtf8((string)$key) || str_starts_with((string)$key, "\0")) {
                throw new NotJson('it has a key that is no text');
            }
            $tagged[$key] = $this->tag($item, $depth);
        }
        if (count($value) === 1 && str_starts_with((string)key($value), ' ')) {
            return (object)[' di' => (object)[key($value) . '__' => current($tagged)]];
        }
        return array_is_list($value) ? $tagged : (object)$tagged;
    }

    private function untag(mixed $value): mixed
    {
        if (is_array($value)) {
            return array_map($this->untag(...), $value);
        }
        if (!is_object($value)) {
            return $value;
        }
        $fields = (array)$value;
        $tag = (string)key($fields);
        if (count($fields) === 1 && str_starts_with($tag, ' ')) {
            return $this->known($tag, current($fields));
        }
        return array_map($this->untag(...), $fields);
    }

    private function known(string $tag, mixed $value): mixed
    {
        $bytes = is_string($value) ? base64_decode($value, true) : false;
        if ($tag === ' b' && $bytes !== false) {
            return $bytes;
        }
        if ($tag === ' php' && $bytes !== false && $this->objects) {
            // Objects are not woken here, but by session_start(), where their classes must be known. Enumerations
            // and the old Serializable cannot wait.
            $later = preg_match('/[EC]:\d+:"/', $bytes) ? [] : ['allowed_classes' => false];
            $object = @unserialize($bytes, $later);
            return $object === false ? new Tagged($tag, $value) : $object;
        }
        if ($tag === ' t' && is_array($value)) {
            return array_map($this->untag(...), $value);
        }
        $key = is_object($value) && count((array)$value) === 1 ? (string)key((array)$value) : '';
        if ($tag === ' di' && preg_match('/^ .*__$/Ds', $key)) {
            return [substr($key, 0, -2) => $this->untag($value->$key)];
        }
        return new Tagged($tag, $value);
    }

    private static function isUtf8(string $text): bool
    {
        return preg_match('//u', $text) === 1;
    }

    private static function isBare(string $text): bool
    {
        return !str_starts_with($text, '"') && !str_contains($text, "\0") && self::isUtf8($text)
            && !self::isJson($text);
    }

    // RFC 8259's, without white space around it. PHP takes TRUE for true, too.
    private static function isJson(string $text): bool
    {
        if ($text === '' || strpbrk($text[0] . $text[-1], " \t\r\n") !== false) {
            return false;
        }
        json_decode($text);
        $is = in_array(json_last_error(), [JSON_ERROR_NONE, JSON_ERROR_DEPTH, JSON_ERROR_UTF16,
            JSON_ERROR_INVALID_PROPERTY_NAME], true);
        return $is && !preg_match('/[A-DF-Z]|[a-z]E/',
            preg_replace('/"[^"\\\\]*+(?:\\\\.[^"\\\\]*+)*+"/s', '', $text));
    }
}

// What httpd tells of the request's session, what it is now, and the headers that make the difference.
final class State
{
    public string $id;
    private bool $isActive;
    private bool $isNew;

    // Name of an attribute to text: as it came, as it is written, and those that no key leads to.
    private array $loaded = [];
    private array $now = [];
    private bool $renew = false;
    private bool $destroy = false;

    // What httpd takes of a header line by FastCGI is 8,190 bytes, MemSess-Set and the line's end included; mod_php
    // has no limit. Longer lines than BATCH are made for one attribute alone.
    private const LIMITS = ['fpm-fcgi' => 8160, 'cgi-fcgi' => 8160];
    private const BATCH = 4000;

    // limit: the longest value of a header, where it is not the one of this way into httpd
    public function __construct(private Codec $codec, private array $env, private ?int $limit = null)
    {
        $state = $this->get('STATE') ?? self::fail(500, new Error('There are no sessions: mod_memsess is not in front '
            . 'of this application, or this section lacks MemSess On or MemSessExpose env.'));
        if ($state === 'unavailable') {
            header('Retry-After: 5');
            self::fail(503, new Unavailable('The session cannot be read: the store is unavailable.'));
        }
        if (!in_array($state, ['active', 'none', 'unknown', 'expired', 'invalid'], true)) {
            self::fail(500, new Error("MEMSESS_STATE is '$state', which this adapter does not know."));
        }
        $this->isActive = $state === 'active';
        $this->isNew = !$this->isActive;
        $this->id = $this->get('ID') ?? bin2hex(random_bytes(16));
        if ($this->isActive) {
            $this->load();
        }
    }

    private function get(string $name): ?string
    {
        return $this->env["MEMSESS_$name"] ?? $this->env["HTTP_MEMSESS_$name"] ?? null;
    }

    private function data(): string
    {
        $parts = $this->get('DATA_PARTS');
        $data = $parts === null ? $this->get('DATA') : '';
        for ($n = 1; $data !== null && $n <= (int)$parts; $n++) {
            $part = $this->get("DATA_$n");
            $data = $part === null ? null : $data . $part;
        }
        if ($data === null || ($parts !== null && (int)$parts < 1)) {
            self::fail(500, new Error('The session is there, but not its data, or not all of it: MEMSESS_DATA was lost on '
                . 'the way, since it is too long there. See docs/limits.md.'));
        }
        return $data;
    }

    private function load(): void
    {
        foreach (array_filter(explode('&', $this->data()), 'strlen') as $pair) {
            [$name, $text] = array_map('urldecode', explode('=', $pair, 2)) + [1 => ''];
            if (($key = $this->codec->key($name)) !== null) {
                // In PHP's own way of writing an object two texts may mean the same.
                $this->loaded[$name] = str_starts_with($text, '{" php":') ? $text
                    : $this->codec->encode($key, $this->codec->decode($key, $text));
            }
        }
        $this->now = $this->loaded;
    }

    public function values(): array
    {
        $values = [];
        foreach ($this->now as $name => $text) {
            $key = $this->codec->key((string)$name);
            $values[$key] = $this->codec->decode($key, $text);
        }
        return $values;
    }

    // Texts by name of attribute.
    public function texts(array $values): array
    {
        $texts = [];
        foreach ($values as $key => $value) {
            $texts[$this->codec->name($key)] = $this->codec->encode($key, $value);
        }
        return $texts;
    }

    public function isNow(array $texts): bool
    {
        ksort($texts);
        ksort($this->now);
        return $texts === $this->now;
    }

    public function renew(): void { $this->renew = true; }

    public function destroy(): void
    {
        $this->destroy = $this->isActive;
        $this->isNew = true;
        $this->id = bin2hex(random_bytes(16));
        $this->renew = false;
        $this->loaded = $this->now = [];
    }

    // Names of headers to lists of their values.
    public function headers(array $texts, int $lifetime): array
    {
        $set = array_filter($texts, fn($text, $name) => ($this->loaded[$name] ?? null) !== $text, ARRAY_FILTER_USE_BOTH);
        $unset = array_keys(array_diff_key($this->loaded, $texts));
        return ['MemSess-Set' => $this->lines(array_map(fn($name) => $name . '=' . rawurlencode($set[$name]),
                array_keys($set))),
            'MemSess-Unset' => $this->lines(array_map('strval', $unset)),
            'MemSess-Renew' => $this->renew && !$this->isNew ? ['1'] : [],
            'MemSess-Destroy' => $this->destroy ? ['1'] : [],
            // As PHP's own cookie, which is sent with a new id alone.
            'MemSess-Expire' => $lifetime > 0 && ($this->isNew ? $texts : $this->renew) ? [$lifetime] : []];
    }

    // All headers, each time from the start, since they are against what was loaded.
    public function write(array $texts, int $lifetime): void
    {
        foreach ($this->headers($texts, $lifetime) as $header => $values) {
            header_remove($header);
            foreach ($values as $value) {
                header("$header: $value", false);
            }
        }
        $this->now = $texts;
    }

    private function lines(array $items): array
    {
        $lines = [];
        foreach ($items as $item) {
            $limit = $this->limit ?? self::LIMITS[PHP_SAPI] ?? 0;
            if ($limit && strlen($item) > $limit) {
                self::fail(500, new Error("The session's attribute " . strtok($item, '=') . ' is too long for a header line: '
                    . 'it takes ' . strlen($item) . " bytes in form encoding, and $limit are the most by FastCGI. Keep it in "
                    . 'several keys of $_SESSION, or use mod_php, which has no limit, or mod_proxy_http with '
                    . 'responsefieldsize= on ProxyPass.'));
            }
            $last = array_key_last($lines);
            if ($last !== null && strlen($lines[$last]) + strlen($item) < self::BATCH) {
                $lines[$last] .= "&$item";
            } else {
                $lines[] = $item;
            }
        }
        return $lines;
    }

    public static function fail(int $status, Error $error): never
    {
        if (!headers_sent()) {
            http_response_code($status);
        }
        throw $error;
    }
}

final class Session implements \SessionHandlerInterface, \SessionIdInterface, \SessionUpdateTimestampHandlerInterface
{
    // It has the options, for applications to set before session_start().
    public static Codec $codec;

    private ?State $state = null;
    private bool $begun = false;

    public static function install(): void
    {
        self::$codec = new Codec();
        foreach (['use_cookies' => '0', 'use_trans_sid' => '0', 'use_strict_mode' => '1',
                'gc_probability' => '0', 'serialize_handler' => 'php_serialize', 'lazy_write' => '0'] as $name => $value) {
            ini_set("session.$name", $value);
        }
        $session = new self();
        session_set_save_handler($session, false);
        header_register_callback($session->begin(...));
        // Twice, so that it is after those of the application.
        register_shutdown_function(fn() => register_shutdown_function($session->finish(...)));
        // Until that, a change may come after output.
        ob_start(null, 1 << 20);
    }

    public function open(string $path, string $name): bool
    {
        if (ini_get('session.serialize_handler') !== 'php_serialize') {
            State::fail(500, new Error('session.serialize_handler must be php_serialize for mod_memsess: leave it alone.'));
        }
        $this->state ??= new State(self::$codec, $_SERVER);
        return true;
    }

    public function close(): bool { return true; }

    public function read(string $id): string
    {
        return serialize($this->state->values());
    }

    public function write(string $id, string $data): bool
    {
        $texts = $this->guard(fn() => $this->state->texts($_SESSION));
        if (!$this->begun) {
            $this->guard(fn() => $this->state->write($texts, (int)ini_get('session.cookie_lifetime')));
        } elseif (!$this->state->isNow($texts)) {
            throw new Error('The session was changed after the response had begun: this change is lost. Change it before '
                . 'output is sent; what is buffered (ob_start()) is not.');
        }
        return true;
    }

    public function destroy(string $id): bool
    {
        if (self::isCalledBy('session_regenerate_id')) {
            return true;
        }
        if ($this->begun) {
            throw new Error('The session cannot end after the response has begun.');
        }
        $this->state->destroy();
        $this->state->write([], 0);
        return true;
    }

    public function gc(int $max_lifetime): int|false { return 0; }

    public function create_sid(): string
    {
        if (self::isCalledBy('session_create_id')) {
            return bin2hex(random_bytes(16));
        }
        if (self::isCalledBy('session_regenerate_id')) {
            if ($this->begun) {
                throw new Error('The session cannot have a new id after the response has begun.');
            }
            $this->state->renew();
        }
        return $this->state->id;
    }

    public function validateId(string $id): bool { return $id === $this->state->id; }

    public function updateTimestamp(string $id, string $data): bool { return $this->write($id, $data); }

    // The headers are about to leave.
    private function begin(): void
    {
        if (session_status() === PHP_SESSION_ACTIVE && !$this->begun) {
            $this->write('', '');
        }
        $this->begun = true;
    }

    private function finish(): void
    {
        if (session_status() === PHP_SESSION_ACTIVE) {
            $this->guard(session_write_close(...));
        }
    }

    // The page that the application made does not say that something is wrong.
    private function guard(callable $work): mixed
    {
        try {
            return $work();
        } catch (\Throwable $e) {
            while (!$this->begun && !headers_sent() && @ob_end_clean());
            headers_sent() || http_response_code(500);
            throw $e;
        }
    }

    // PHP does not tell its handlers.
    private static function isCalledBy(string $function): bool
    {
        return in_array($function, array_column(debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS), 'function'), true);
    }
}

Session::install();
