//! What can be set, and what is refused.

use crate::helm::{Helm, object};
use crate::render::env;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn a_value_that_cannot_be_is_refused_by_its_name() {
    let Some(helm) = Helm::find() else { return };
    let refused = [
        ("replica=2", "'replica' not allowed"),
        ("image.tga=1", "'tga' not allowed"),
        // The operator writes the mirrors' pods; it has no such setting, so there must be no such value.
        ("mirrorImage.pullPolicy=Always", "'pullPolicy' not allowed"),
        ("replicas=two", "/replicas"),
        ("replicas=0", "/replicas"),
        ("replicas=null", "'replicas'"),
        ("image.repository=", "/image/repository"),
        ("image.tag=a/b", "/image/tag"),
        ("image.digest=md5:0", "/image/digest"),
        ("mirrorImage.digest=sha256:0", "/mirrorImage/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("watchNamespace=No_Namespace", "/watchNamespace"),
        ("logFilter=", "/logFilter"),
        ("networkPolicy.enabled=yes", "/networkPolicy/enabled"),
        ("networkPolicy=null", "'networkPolicy'"),
        ("imagePullSecrets[0]=registry", "/imagePullSecrets/0"),
    ];
    for (value, words) in refused {
        let Err(complaint) = helm.run(&["template", "granary", "granary", "--set", value]) else {
            panic!("{value} was taken");
        };
        assert!(complaint.contains(words), "{value}: {complaint}");
    }
}

#[test]
fn a_digest_wins_over_a_tag_and_a_tag_over_the_charts_version() {
    let Some(helm) = Helm::find() else { return };
    for (field, default) in [("image", "granary/operator"), ("mirrorImage", "granary/mirror")] {
        let image = |values: &str| {
            let objects = helm.operator(&["--set-string", values]);
            let deployment = object(&objects, "Deployment", "granary-operator");
            let image = match field {
                "image" => &deployment["spec"]["template"]["spec"]["containers"][0]["image"],
                _ => &env(deployment, "GRANARY_MIRROR_IMAGE")["value"],
            };
            image.as_str().unwrap().to_owned()
        };
        assert_eq!(image("logFilter=info"), format!("{default}:0.1.0"));
        assert_eq!(image(&format!("{field}.tag=1.2")), format!("{default}:1.2"));
        let both = format!("{field}.repository=host:5000/a/b,{field}.tag=1.2,{field}.digest={DIGEST}");
        assert_eq!(image(&both), format!("host:5000/a/b@{DIGEST}"));
    }
}

#[test]
fn values_reach_the_pod() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&[
        "--set",
        "replicas=3,logFilter=debug,watchNamespace=mirrors,image.pullPolicy=Always,serviceAccount.name=own",
        "--set",
        "podAnnotations.a=b,nodeSelector.disk=large,tolerations[0].operator=Exists,resources.limits.memory=1Gi",
        "--set",
        "imagePullSecrets[0].name=registry",
    ]);
    let deployment = object(&objects, "Deployment", "granary-operator");
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(env(deployment, "RUST_LOG")["value"], "debug");
    assert_eq!(env(deployment, "GRANARY_WATCH_NAMESPACE")["value"], "mirrors");
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"]["a"], "b");
    let pod = &template["spec"];
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(pod["nodeSelector"]["disk"], "large");
    assert_eq!(pod["tolerations"][0]["operator"], "Exists");
    assert_eq!(pod["serviceAccountName"], "own");
    assert_eq!(object(&objects, "ServiceAccount", "own")["imagePullSecrets"][0]["name"], "registry");
    let binding = object(&objects, "ClusterRoleBinding", "granary-operator");
    assert_eq!(binding["subjects"][0]["name"], "own");
}

#[test]
fn without_values_the_operator_looks_after_every_namespace() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&[]);
    let deployment = object(&objects, "Deployment", "granary-operator");
    assert!(env(deployment, "GRANARY_WATCH_NAMESPACE").is_null());
}
