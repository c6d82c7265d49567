# Licensed under the Apache License, Version 2.0; see LICENSE.
#
# Rack's session, kept by mod_memsess: `use MemSess::Session` in place of another session
# middleware. The session comes with the request and changes leave with the response, as
# docs/adapters.md says; README.md beside this file says what an application should know.

require 'cgi'
require 'json'
require 'rack'
require 'time'
begin
  require 'rack/session/abstract/id'
rescue LoadError
  raise LoadError, 'MemSess::Session needs the gem rack-session (Debian: ruby-rack-session)'
end

module MemSess
  # Something is wrong with the set-up, or with what the application does.
  class Error < StandardError
    def http_status
      500
    end
  end

  # The store cannot answer: this is no empty session.
  class Unavailable < Error
    def http_status
      503
    end
  end

  # A JSON object that is a tag of another language's: it is kept as it is.
  class Tagged < Hash; end

  # Bytes, whatever they look like. A string with Encoding::BINARY that is not ASCII is bytes, too.
  class Bytes < String; end

  # Keys to attribute names, values to what is stored, and back.
  module Codec
    NAME   = /\A(?!\.\.)[A-Za-z0-9_.\-]{1,64}\z/
    STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\\/bfnrt]|u\h{4}))*"/n
    NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9.eE+\-])/n
    # What JSON.parse takes beyond RFC 8259 has none of these tokens.
    TOKENS = /\A(?>(?>#{STRING}|#{NUMBER}|true|false|null|[\[\]{},:]|[ \t\r\n]+)+)\z/n

    module_function

    def name(key)
      name = key.b.match?(NAME) ? key : '..' + key.b.gsub(/[^A-Za-z0-9_-]/n) { |c| format('.%02X', c.ord) }
      return name if name.size <= 64

      raise Error, "The session's key #{key[0, 80].inspect} cannot be stored: as the name of an attribute " \
        "(#{name[0, 80]}) it has #{name.size} characters, and 64 are the most. Use a shorter key."
    end

    # nil where no key leads to the name.
    def key(name)
      return name unless name.start_with?('..')

      key = string(name[2..-1].gsub(/\.(\h\h)/) { $1.hex.chr.b })
      key if key.valid_encoding? && key.size <= 64 && self.name(key) == name
    end

    def encode(value, plain = false)
      return bare(value) if plain && value.is_a?(String)

      tagged = tag(value)
      tagged.is_a?(String) && bare?(tagged) ? tagged.b : JSON.generate(tagged, max_nesting: 0).b
    end

    def decode(text, plain = false)
      text = text.b
      return string(text) if plain

      parsed = parse(text)
      parsed.equal?(text) ? string(text) : untag(parsed)
    end

    def bare(value)
      return text(value).b unless value.include?("\0")

      raise Error, "A plain value cannot have a NUL: #{value[0, 80].inspect}."
    end

    # The value, or the text itself where it is no JSON.
    def parse(text)
      return text if text.match?(/\A\s|\s\z/n) || !text.match?(TOKENS) || !string(text).valid_encoding?

      JSON.parse(string(text), max_nesting: 500, create_additions: false)
    rescue JSON::ParserError
      text
    end

    def bare?(string)
      bytes = string.b
      string.valid_encoding? && !bytes.start_with?('"') && !bytes.include?("\0") && parse(bytes).equal?(bytes)
    end

    def string(bytes)
      bytes.dup.force_encoding(Encoding::UTF_8)
    end

    # In UTF-8; nil where the string is bytes that are no text.
    def text(value)
      value = value.to_s
      return string(value) if value.encoding == Encoding::UTF_8 || value.ascii_only?

      value.encoding == Encoding::BINARY ? value : value.encode(Encoding::UTF_8)
    rescue EncodingError
      value.b
    end

    def text?(value)
      value.encoding == Encoding::UTF_8 && value.valid_encoding?
    end

    def tag(value)
      case value
      when nil, true, false, Integer then value
      when Float   then value.finite? ? value : refuse(value)
      when Bytes   then { ' b' => [value].pack('m0') }
      when String, Symbol
        text = text(value)
        text?(text) ? text : { ' b' => [text].pack('m0') }
      when Array   then value.map { |v| tag(v) }
      when Tagged  then value.to_h { |k, v| [k, tag(v)] }
      when Hash    then tag_hash(value.to_h { |k, v| [hash_key(k), tag(v)] })
      when Time    then { ' d' => value.httpdate }
      else value.respond_to?(:httpdate) ? { ' d' => value.httpdate } : refuse(value)
      end
    end

    def tag_hash(hash)
      key = hash.size == 1 && hash.keys.first
      key && key.start_with?(' ') ? { ' di' => { "#{key}__" => hash[key] } } : hash
    end

    def hash_key(key)
      case key
      when String, Symbol then text(key)
      when Integer        then key.to_s
      else refuse(key)
      end
    end

    def refuse(value)
      raise Error, "A session cannot hold #{value.class} (#{value.inspect[0, 80]}): it takes nil, true, false, " \
        'numbers that are finite, strings, symbols (which come back as strings), arrays, hashes and times.'
    end

    def untag(value)
      case value
      when Array then value.map { |v| untag(v) }
      when Hash  then untag_hash(value.transform_values { |v| untag(v) })
      else value
      end
    end

    def untag_hash(hash)
      key = hash.size == 1 ? hash.keys.first : ''
      return hash unless key.start_with?(' ')

      inner = hash[key]
      case key
      when ' b'  then return Bytes.new(inner.unpack1('m0'))
      when ' d'  then return Time.httpdate(inner)
      when ' di' then return inner.to_h { |k, v| [k.delete_suffix('__'), v] } if inner.is_a?(Hash)
      end
      Tagged[hash]
    rescue ArgumentError, TypeError, NoMethodError
      Tagged[hash]
    end
  end

  # What mod_memsess says of the request's session: in the headers of a proxy, or in the variables
  # of CGI and FastCGI.
  class Front
    STATES = %w[none unknown expired invalid active unavailable].freeze

    attr_reader :state, :id

    def initialize(env)
      @cgi    = env.key?('MEMSESS_STATE')
      @env    = env
      @prefix = @cgi ? '' : 'HTTP_'
      @state  = env["#{@prefix}MEMSESS_STATE"] or
        raise Error, 'mod_memsess is not in front of this application, or this section of its configuration ' \
          'lacks MemSess On, or MemSessExpose headers (by FastCGI or CGI: MemSessExpose env).'
      STATES.include?(@state) or raise Error, "mod_memsess says that the session is #{@state.inspect}: " \
        'this adapter is older than the module, and does not know that.'
      @id = env["#{@prefix}MEMSESS_ID"]
    end

    def cgi?
      @cgi
    end

    # Attribute names to stored texts.
    def attributes
      raise Unavailable, 'The session cannot be read now: the session servers do not answer.' if @state == 'unavailable'
      return {} unless @state == 'active'

      data.split('&').to_h { |pair| pair.split('=', 2).map { |s| CGI.unescape(s, Encoding::BINARY) } }
    end

    private

    # Form encoding has no commas: one is where repeated headers were joined.
    def data
      parts = @env["#{@prefix}MEMSESS_DATA_PARTS"]
      return part('').gsub(/, */, '') unless parts

      parts.match?(/\A[1-9]\d*\z/) or raise Error, "MEMSESS_DATA_PARTS is no number: #{parts.inspect}."
      (1..parts.to_i).map { |n| part("_#{n}") }.join
    end

    def part(number)
      @env["#{@prefix}MEMSESS_DATA#{number}"] or
        raise Error, "The session's data are lost on the way: MEMSESS_DATA#{number} is missing. They are too long for " \
          'what is between httpd and here; see the table of limits, and MemSessExposeKeys.'
    end
  end

  # Rack's session, which is read when it is first used.
  class SessionHash < Rack::Session::Abstract::SessionHash
    attr_accessor :front, :before, :closed, :destroyed

    # Rails asks.
    def enabled?
      true
    end

    def load_for_write!
      if closed
        raise Error, 'The session was changed after the response had begun: this change is lost. ' \
          'Change the session before the first byte of the body is sent.'
      end
      super
    end
    private :load_for_write!
  end

  # use MemSess::Session, plain: [names whose strings are stored as they are: a log-in, so that
  #     another value brings a new id],
  #     expire_after: seconds without a request, for a session that begins here,
  #     field_size: what responsefieldsize= of ProxyPass says, if it does
  class Session < Rack::Session::Abstract::Persisted
    LINE       = 4000  # bytes of pairs in one MemSess-Set
    FIELD_SIZE = 8192  # what httpd takes as a header line, from CGI and FastCGI always
    REST       = 32    # of that is for the header's name and the line's end
    ASKED      = %i[renew drop expire_after].freeze

    def initialize(app, options = {})
      @plain = Array(options[:plain]).map(&:to_s)
      @field_size = options[:field_size] || FIELD_SIZE
      super(app, options)
    end

    def context(env, app = @app)
      req = make_request(env)
      front = Front.new(env)
      prepare_session(req)
      session = env[Rack::RACK_SESSION]
      session.front = front
      status, headers, body = app.call(env)
      [status, headers, finish(req, session, headers, body)]
    rescue Unavailable => e
      env[Rack::RACK_ERRORS]&.puts("#{e.class}: #{e.message}")
      [503, { 'content-type' => 'text/plain', 'retry-after' => '2' }, ["#{e.message}\n"]]
    end

    private

    def session_class
      SessionHash
    end

    def own(req)
      req.get_header('memsess.session') || req.get_header(Rack::RACK_SESSION)
    end

    def prepare_session(req)
      super
      req.set_header('memsess.session', req.get_header(Rack::RACK_SESSION))
    end

    # The public id, for logs; nil where there is no session yet.
    def extract_session_id(req)
      id = own(req).front.id
      id && Rack::Session::SessionId.new(id)
    end

    def session_exists?(req)
      front = own(req).front
      front.attributes if front.state == 'unavailable'
      front.state == 'active'
    end

    def load_session(req)
      session = own(req)
      attributes = session.front.attributes.transform_keys { |name| Codec.key(name) }
      data = attributes.reject { |key, _| key.nil? }.to_h { |key, text| [key, Codec.decode(text, @plain.include?(key))] }
      session.before = encoded(data)
      [extract_session_id(req), data]
    end

    def delete_session(req, _id, _options)
      session = own(req)
      session.destroyed = true
      session.before = {}
      nil
    end

    def encoded(data)
      data.to_h do |key, value|
        [Codec.name(key), Codec.encode(value, @plain.include?(key))]
      rescue Error => e
        raise Error, "The session's key #{key[0, 80].inspect}: #{e.message}"
      end
    end

    # The headers that say what has changed. Whether the body changes it later is known at its end.
    def finish(req, session, headers, body)
      commit_csrf_token(req)
      now = req.get_header(Rack::RACK_SESSION)
      options = req.get_header(Rack::RACK_SESSION_OPTIONS) || {}
      return body if options[:skip]

      delete_session(req, nil, options) && session.clear if options[:drop]
      after = options[:drop] ? {} : written(session, now)
      add(headers, lines(session, options, after))
      session.closed = true
      return body if body.is_a?(Array)

      asked = options.values_at(*ASKED)
      Rack::BodyProxy.new(body) { check(session, now, after || session.before, asked == options.values_at(*ASKED)) }
    end

    # Since 7.1 Rails has its token against forged forms put into the session by what stores that.
    def commit_csrf_token(req)
      controller = req.get_header('action_controller.instance')
      controller.commit_csrf_token(controller.request) if controller.respond_to?(:commit_csrf_token)
    end

    # Attributes as they are now; nil where the application has not touched the session. At the top
    # nil is no value, as ever in Rack, unless that is what came.
    def written(session, now)
      return nil if now.equal?(session) && !session.loaded?

      session.send(:load!) unless session.loaded?
      now = now.to_hash.transform_keys(&:to_s)
      encoded(now.reject { |key, value| value.nil? && session.before[Codec.name(key)] != 'null' })
    end

    def lines(session, options, after)
      before = session.before || {}
      after ||= before
      set = after.reject { |name, text| before[name] == text }
      lines = {}
      lines['Destroy'] = ['1'] if session.destroyed
      lines['Unset']   = batches((before.keys - after.keys), session.front)
      lines['Set']     = batches(set.map { |name, text| "#{name}=#{CGI.escape(text)}" }, session.front)
      lines['Renew']   = ['1'] if options[:renew] || set.any? { |name, _| @plain.include?(Codec.key(name)) }
      expire = expire_after(session, options, !set.empty?)
      lines['Expire']  = [expire.to_i.to_s] if expire
      lines.reject { |_, values| values.empty? }
    end

    # What the request says; what all have is for a session that begins.
    def expire_after(session, options, sets)
      wanted = options[:expire_after]
      begins = sets && (session.front.state != 'active' || session.destroyed)
      wanted if wanted != @default_options[:expire_after] || begins
    end

    def batches(pairs, front)
      pairs.each_with_object([]) do |pair, lines|
        check_length(pair, front.cgi? ? FIELD_SIZE : @field_size)
        if lines.empty? || lines.last.bytesize + 1 + pair.bytesize > LINE
          lines << +pair
        else
          lines.last << '&' << pair
        end
      end
    end

    def check_length(pair, field_size)
      return if pair.bytesize <= field_size - REST

      raise Error, "The session's attribute #{pair[/\A[^=]*/]} is too long for a header line: #{pair.bytesize} bytes in " \
        "form encoding, and #{field_size - REST} are the most. Split it over several keys, or let httpd reach the " \
        'application by mod_proxy_http with responsefieldsize= on ProxyPass, and give MemSess::Session the same number ' \
        'as field_size:.'
    end

    # Rack 3 has lower-case names and arrays, Rack 2 line ends between values.
    def add(headers, lines)
      lines.each do |name, values|
        if Rack.release.to_i >= 3
          headers["memsess-#{name.downcase}"] = values
        else
          headers["MemSess-#{name}"] = values.join("\n")
        end
      end
    end

    def check(session, now, after, same)
      return if same && [nil, after || session.before].include?(written(session, now))

      raise Error, 'The session was changed while the body was sent: this change is lost. ' \
        'Change the session before the first byte of the body is sent.'
    end
  end
end
