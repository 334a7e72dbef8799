//! The lines that a client copies.

use super::Page;
use super::html::Html;

/// What to write into `nix.conf`, and the same for NixOS.
pub(super) fn setup(html: &mut Html, page: &Page) {
    let Page { address, keys, .. } = page;
    html.raw("<section aria-labelledby=\"use\"><h2 id=\"use\">Use this mirror</h2>");
    html.raw("<p>Signatures are passed on as they are, so the keys are those of the upstreams.</p>");
    html.raw("<div class=\"columns\"><div><h3><code>nix.conf</code></h3><pre tabindex=\"0\"><code>");
    html.raw("extra-substituters = ").text(address);
    html.raw("\nextra-trusted-public-keys =");
    for key in keys {
        html.raw(" ").text(key);
    }
    html.raw("\n</code></pre></div><div><h3>NixOS</h3><pre tabindex=\"0\"><code>nix.settings = {\n  substituters = [ \"");
    html.text(nix_string(address)).raw("\" ];\n  trusted-public-keys = [\n");
    for key in keys {
        html.raw("    \"").text(nix_string(key)).raw("\"\n");
    }
    html.raw("  ];\n};\n</code></pre></div></div></section>\n");
}

/// The inside of a string of the Nix language.
fn nix_string(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_nix_string_early() {
        assert_eq!(nix_string(r#"a"; ${b} \"#), r#"a\"; \${b} \\"#);
    }
}
